"""Which processor it is, from what the kernel says of it."""

from models.core.cpu import features, identity

PI5 = """processor\t: {core}
BogoMIPS\t: {bogomips}
Features\t: fp asimd evtstrm aes  asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x4
CPU part\t: 0xd0b
CPU revision\t: 1

"""
BOARD = "\nRevision\t: d04170\nModel\t\t: Raspberry Pi 5 Model B Rev 1.0\n"


def test_cores_alike_count_once_and_what_changes_does_not_count() -> None:
    """Four cores or two, fast or slow at the moment: it is the same processor."""
    four = "".join(PI5.format(core=core, bogomips=108.0 + core) for core in range(4)) + BOARD
    two = "".join(PI5.format(core=core, bogomips=54.0) for core in range(2))
    assert identity(four) == identity(two)
    assert "Features: fp asimd evtstrm aes asimddp" in identity(four)


def test_other_instructions_are_another_processor() -> None:
    """Also where only one kind of several cores differs."""
    little = PI5.format(core=1, bogomips=1).replace("0xd0b", "0xd05")
    assert identity(PI5) != identity(PI5.replace(" asimddp", ""))
    assert identity(PI5) != identity(PI5 + little)


def test_a_kernel_that_says_nothing_gives_an_identity_too() -> None:
    """An empty one."""
    assert identity("nothing\n: of\n\nuse") == ""


def test_features_are_what_all_cores_have() -> None:
    """Of little cores and big ones, what the little ones can do too; on x86 they are called flags."""
    little = PI5.format(core=1, bogomips=1).replace(" asimddp", "")
    assert features(PI5) == {"fp", "asimd", "evtstrm", "aes", "asimddp"}
    assert features(PI5 + little + BOARD) == {"fp", "asimd", "evtstrm", "aes"}
    assert features("model name\t: fma\nflags\t\t: avx2 fma\nbugs\t: spectre\n") == {"avx2", "fma"}
    assert features("nothing") == frozenset()
