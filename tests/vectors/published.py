"""Vectors others have published: BIP-340's, NIP-19's, bitcoin's first header, a real share of a Bitaxe."""

_PK1 = "dff1d77f2a671c5f36183726db2341be58feae1da2deced843240f7b502ba659"
_MSG1 = "243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89"
_R = "6cff5c3ba86c69ea4b7376f31a9bcb4f74c1976089b2d9963da2e5543e177769"
_S = "69e89b4c5564d00349106b8497785dd7d1d713a8ae82b32fa79d5f7fc407d39b"
OFF_CURVE = "eefdea4cdb677750a420fee807eacf21eb9898ae79b9768766e4faa04a2d4a34"

# index, secret key, public key, aux_rand, message, signature, result, comment
_BIP340 = [
    (
        "0000000000000000000000000000000000000000000000000000000000000003",
        "f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9",
        "00" * 32,
        "00" * 32,
        "e907831f80848d1069a5371b402410364bdf1c5f8307b0084c55f1ce2dca8215"
        "25f66a4a85ea8b71e482a74f382d2ce5ebeee8fdb2172f477df4900d310536c0",
        True,
        "",
    ),
    (
        "b7e151628aed2a6abf7158809cf4f3c762e7160f38b4da56a784d9045190cfef",
        _PK1,
        "00" * 31 + "01",
        _MSG1,
        "6896bd60eeae296db48a229ff71dfe071bde413e6d43f917dc8dcf8c78de3341"
        "8906d11ac976abccb20b091292bff4ea897efcb639ea871cfa95f6de339e4b0a",
        True,
        "",
    ),
    (
        "c90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b14e5c9",
        "dd308afec5777e13121fa72b9cc1b7cc0139715309b086c960e18fd969774eb8",
        "c87aa53824b4d7ae2eb035a2b5bbbccc080e76cdc6d1692c4b0b62d798e6d906",
        "7e2d58d8b3bcdf1abadec7829054f90dda9805aab56c77333024b9d0a508b75c",
        "5831aaeed7b44bb74e5eab94ba9d4294c49bcf2a60728d8b4c200f50dd313c1b"
        "ab745879a5ad954a72c45a91c3a51d3c7adea98d82f8481e0e1e03674a6f3fb7",
        True,
        "",
    ),
    (
        "0b432b2677937381aef05bb02a66ecd012773062cf3fa2549e44f58ed2401710",
        "25d1dff95105f5253c4022f628a996ad3a0d95fbf21d468a1b33f8c160d8f517",
        "ff" * 32,
        "ff" * 32,
        "7eb0509757e246f19449885651611cb965ecc1a187dd51b64fda1edc9637d5ec"
        "97582b9cb13db3933705b32ba982af5af25fd78881ebb32771fc5922efc66ea3",
        True,
        "test fails if msg is reduced modulo p or n",
    ),
    (
        "",
        "d69c3509bb99e412e68b0fe8544e72837dfa30746d8be2aa65975f29d22dc7b9",
        "",
        "4df3c3f68fcc83b27e9d42c90431a72499f17875c81a599b566c9889b9696703",
        "00000000000000000000003b78ce563f89a0ed9414f5aa28ad0d96d6795f9c63"
        "76afb1548af603b3eb45c9f8207dee1060cb71c04e80f593060b07d28308d7f4",
        True,
        "",
    ),
    ("", OFF_CURVE, "", _MSG1, _R + _S, False, "public key not on the curve"),
    (
        "",
        _PK1,
        "",
        _MSG1,
        "fff97bd5755eeea420453a14355235d382f6472f8568a18b2f057a1460297556"
        "3cc27944640ac607cd107ae10923d9ef7a73c643e166be5ebeafa34b1ac553e2",
        False,
        "has_even_y(R) is false",
    ),
    (
        "",
        _PK1,
        "",
        _MSG1,
        "1fa62e331edbc21c394792d2ab1100a7b432b013df3f6ff4f99fcb33e0e1515f"
        "28890b3edb6e7189b630448b515ce4f8622a954cfe545735aaea5134fccdb2bd",
        False,
        "negated message",
    ),
    (
        "",
        _PK1,
        "",
        _MSG1,
        _R + "961764b3aa9b2ffcb6ef947b6887a226e8d7c93e00c5ed0c1834ff0d0c2e6da6",
        False,
        "negated s value",
    ),
    (
        "",
        _PK1,
        "",
        _MSG1,
        "00" * 32 + "123dda8328af9c23a94c1feecfd123ba4fb73476f0d594dcb65c6425bd186051",
        False,
        "sG - eP is infinite, x(inf) as 0",
    ),
    (
        "",
        _PK1,
        "",
        _MSG1,
        "00" * 31 + "01" + "7615fbaf5ae28864013c099742deadb4dba87f11ac6754f93780d5a1837cf197",
        False,
        "sG - eP is infinite, x(inf) as 1",
    ),
    (
        "",
        _PK1,
        "",
        _MSG1,
        "4a298dacae57395a15d0795ddbfd1dcb564da82b0f269bc70a74f8220429ba1d" + _S,
        False,
        "sig[0:32] is not an X coordinate on the curve",
    ),
    (
        "",
        _PK1,
        "",
        _MSG1,
        "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f" + _S,
        False,
        "sig[0:32] is equal to field size",
    ),
    (
        "",
        _PK1,
        "",
        _MSG1,
        _R + "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
        False,
        "sig[32:64] is equal to curve order",
    ),
    (
        "",
        "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc30",
        "",
        _MSG1,
        _R + _S,
        False,
        "public key exceeds the field size",
    ),
]
_NAMES = ("secret", "pubkey", "aux_rand", "message", "signature", "valid", "comment")
BIP340 = [{"index": index, **dict(zip(_NAMES, row, strict=True))} for index, row in enumerate(_BIP340)]

NIP19 = [
    {
        "prefix": "npub",
        "text": "npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg",
        "hex": "7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e",
    },
    {
        "prefix": "nsec",
        "text": "nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5",
        "hex": "67dea2ed018072d675f5415ecfaed7d2597555e202d85b3d65ea4e58d2d92ffa",
    },
    {
        "prefix": "nprofile",
        "text": "nprofile1qqsrhuxx8l9ex335q7he0f09aej04zpazpl0ne2cgukyawd24mayt8gpp4mhxue69uhhytnc9e3k7mgpz4mhxue69uh"
        "kg6nzv9ejuumpv34kytnrdaksjlyr9p",
        "hex": "3bf0c63fcb93463407af97a5e5ee64fa883d107ef9e558472c4eb9aaaefa459d",
        "relays": ["wss://r.x.com", "wss://djbas.sadkb.com"],
    },
]

GENESIS_HEADER = (
    "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3"
    "888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c"
)
# Testnet 3, height 2442185: the share in github.com/benjamin-wilson/public-pool's StratumV1Client.spec.ts.
PUBLIC_POOL_HEADER = (
    "00200020f2921517920e7423e6f623d22725ff8b4facf79a1e45462202000000000000006b5d684a704b4abe62b2375c5326d1fc1dbb6116"
    "8aff84e920ba28968bf1075fecf3b364f8952419910d46ed"
)
PUBLIC_POOL_MERKLE = {
    "leaf": bytes.fromhex("965f023fa72e099e58f4b1250c2295b52283828959cd368318cfdcbe57df4bec")[::-1].hex(),
    "branches": [
        "175335649d5e8746982969ec88f52e85ac9917106fba5468e699c8879ab974a1",
        "d5644ab3e708c54cd68dc5aedc92b8d3037449687f92ec41ed6e37673d969d4a",
        "5c9ec187517edc0698556cca5ce27e54c96acb014770599ed9df4d4937fbf2b0",
    ],
    "root": "6b5d684a704b4abe62b2375c5326d1fc1dbb61168aff84e920ba28968bf1075f",
}
