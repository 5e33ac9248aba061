"""The processor models that QEMU brings, by name (recorded 1144), and the flags that a VM may set (CPUFlags.pm).

Values only: what `cpu` of a VM may name without the prefix `custom-`. Next: `formats.py`, which checks it.
"""

__all__ = ["BUILT_IN", "FLAGS"]

_NAMES = """
    486 Broadwell Broadwell-IBRS Broadwell-noTSX Broadwell-noTSX-IBRS Cascadelake-Server Cascadelake-Server-noTSX
    Cascadelake-Server-v2 Cascadelake-Server-v4 Cascadelake-Server-v5 ClearwaterForest Conroe Cooperlake Cooperlake-v2
    EPYC EPYC-Genoa EPYC-IBPB EPYC-Milan EPYC-Milan-v2 EPYC-Rome EPYC-Rome-v2 EPYC-Rome-v3 EPYC-Rome-v4 EPYC-v3 EPYC-v4
    GraniteRapids GraniteRapids-v2 Haswell Haswell-IBRS Haswell-noTSX Haswell-noTSX-IBRS Icelake-Client
    Icelake-Client-noTSX Icelake-Server Icelake-Server-noTSX Icelake-Server-v3 Icelake-Server-v4 Icelake-Server-v5
    Icelake-Server-v6 Icelake-Server-v7 IvyBridge IvyBridge-IBRS KnightsMill Nehalem Nehalem-IBRS Opteron_G1 Opteron_G2
    Opteron_G3 Opteron_G4 Opteron_G5 Penryn SandyBridge SandyBridge-IBRS SapphireRapids SapphireRapids-v2
    SapphireRapids-v3 SierraForest SierraForest-v2 Skylake-Client Skylake-Client-IBRS Skylake-Client-noTSX-IBRS
    Skylake-Client-v4 Skylake-Server Skylake-Server-IBRS Skylake-Server-noTSX-IBRS Skylake-Server-v4 Skylake-Server-v5
    Westmere Westmere-IBRS athlon core2duo coreduo host kvm32 kvm64 max pentium pentium2 pentium3 phenom qemu32 qemu64
    x86-64-v2 x86-64-v2-AES x86-64-v3 x86-64-v4
"""
BUILT_IN = frozenset(_NAMES.split())
FLAGS = frozenset((
    "nested-virt", "md-clear", "pcid", "spec-ctrl", "ssbd", "ibpb", "virt-ssbd", "amd-ssbd", "amd-no-ssb", "pdpe1gb",
    "hv-tlbflush", "hv-evmcs", "aes",
))  # fmt: skip
