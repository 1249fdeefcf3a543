"""The sizes of the coinbase's closing push (SPEC.md, "The binding"), in bytes."""

BINDING_SIZE = 32
EXTRANONCE1_SIZE = 4
EXTRANONCE2_SIZE = 8
# binding, extranonce1, extranonce2: the one push that ends the coinbase's scriptSig.
PUSH_SIZE = BINDING_SIZE + EXTRANONCE1_SIZE + EXTRANONCE2_SIZE
