"""Temperature and battery, from trees as boards have them."""

from pathlib import Path

import pytest

from device.core.offering import Condition
from device.sensors import read

# Recorded from a Raspberry Pi 5, a laptop on its battery with a wireless mouse, and a board with a broken sensor.
PI = {"thermal/thermal_zone0/type": "cpu-thermal", "thermal/thermal_zone0/temp": "61250"}
LAPTOP = {
    "thermal/thermal_zone0/type": "acpitz",
    "thermal/thermal_zone0/temp": "47000",
    "thermal/thermal_zone1/type": "x86_pkg_temp",
    "thermal/thermal_zone1/temp": "68000",
    "power_supply/AC/type": "Mains",
    "power_supply/AC/online": "0",
    "power_supply/AC/status": "Discharging",
    "power_supply/BAT0/type": "Battery",
    "power_supply/BAT0/status": "Discharging",
    "power_supply/BAT0/capacity": "43",
    "power_supply/hidpp_battery_0/type": "Battery",
    "power_supply/hidpp_battery_0/scope": "Device",
    "power_supply/hidpp_battery_0/status": "Discharging",
    "power_supply/hidpp_battery_0/capacity": "5",
}
BROKEN = {
    "thermal/thermal_zone0/temp": "-273000",
    "thermal/thermal_zone1/temp": "hot",
    "thermal/thermal_zone2/type": "iwlwifi_1",
    "power_supply/BAT0/type": "Battery",
    "power_supply/BAT0/status": "Discharging",
    "power_supply/BAT0/capacity": "unknown",
}


@pytest.mark.parametrize(
    ("files", "condition"),
    [
        (PI, Condition(celsius=61.25)),
        (LAPTOP, Condition(celsius=68.0, percent=43.0)),
        ({**LAPTOP, "power_supply/BAT0/status": "Charging"}, Condition(celsius=68.0)),
        (BROKEN, Condition()),
        ({}, Condition()),
    ],
)
def test_what_a_board_says(tmp_path: Path, files: dict[str, str], condition: Condition) -> None:
    """The warmest zone; the battery that feeds the board, while it runs down; nothing that is no reading."""
    for name, text in files.items():
        path = tmp_path / "class" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    assert read(tmp_path) == condition
