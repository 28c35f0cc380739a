"""Boards that people have get the forms that suit their processors."""

import pytest

from models.core.board_profile import BoardProfile, GraphForm
from models.core.cpu import features
from models.errors import InvalidRequestError


def arm(features: str, part: str, *, cores: int = 4) -> str:
    """Write what Linux says of an ARM board."""
    return "\n".join(
        f"processor\t: {core}\nBogoMIPS\t: 108.00\nFeatures\t: {features}\nCPU implementer\t: 0x41\n"
        f"CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: {part}\nCPU revision\t: 3\n"
        for core in range(cores)
    )


def x86(name: str, flags: str) -> str:
    """Write what Linux says of one core of a PC."""
    return f"processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: {name}\nflags\t\t: {flags}\nbugs\t\t: spectre\n\n"


A72 = "fp asimd evtstrm crc32 cpuid"
A76 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
AVX2 = "fpu vme sse sse2 ssse3 fma sse4_1 sse4_2 movbe popcnt aes xsave avx f16c rdrand bmi1 avx2 smep bmi2"
PI = "Revision\t: c03115\nSerial\t\t: 10000000deadbeef\nModel\t\t: Raspberry Pi 4 Model B Rev 1.5\n"

BOARDS = {
    "Raspberry Pi 4": (arm(A72, "0xd08") + PI, "int8/int8"),
    "Raspberry Pi Zero 2 W": (arm(A72, "0xd03"), "int8/int8"),
    "Raspberry Pi 5": (arm(A76, "0xd0b"), "exact/int8"),
    "Jetson Orin Nano": (arm(f"{A76} uscat ilrcpc flagm paca pacg", "0xd42", cores=6), "exact/int8"),
    "Neoverse V1": (arm(f"{A76} i8mm bf16 dgh rng sve", "0xd40"), "exact/int8"),
    "cores of two kinds": (arm(A76, "0xd0b", cores=1) + "\n" + arm(A72, "0xd03", cores=3), "int8/int8"),
    "Haswell": (x86("Intel(R) Core(TM) i5-4590", AVX2), "exact/exact"),
    "Ice Lake": (x86("Intel(R) Core(TM) i5-1035G1", f"{AVX2} avx512f avx512bw avx512_vnni"), "exact/int8"),
    "Alder Lake-N": (x86("Intel(R) N100", f"{AVX2} gfni vaes avx_vnni"), "exact/int8"),
    "unknown": ("processor\t: 0\nisa\t\t: rv64imafdc\n", "exact/exact"),
    "nothing": ("", "exact/exact"),
}


@pytest.mark.parametrize("name", BOARDS)
def test_a_board_gets_the_forms_that_suit_it(name: str) -> None:
    """Dot products: four bits for tokens, eight for prompts; ARM without them: eight for both."""
    cpuinfo, forms = BOARDS[name]
    assert forms == str(BoardProfile.of(features(cpuinfo)))


@pytest.mark.parametrize("text", ["exact/exact", "exact/int8", "int8/int8"])
def test_what_is_written_is_read(text: str) -> None:
    """A profile survives its text."""
    assert text == str(BoardProfile.parse(text))


@pytest.mark.parametrize("text", ["", "exact", "int8/exact", "exact/int8/int8", "fp16/int8", "int8/" + "x" * 1000])
def test_other_texts_are_refused(text: str) -> None:
    """What no board uses cannot be asked for."""
    with pytest.raises(InvalidRequestError, match="forms of the graph"):
        BoardProfile.parse(text)


def test_forms_are_named_as_in_texts() -> None:
    """The two parts of a profile stand in their order."""
    profile = BoardProfile.parse("exact/int8")
    assert (profile.decode, profile.prefill) == (GraphForm.EXACT, GraphForm.INT8)
