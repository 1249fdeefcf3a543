/* What the hash kernels have in common: SHA-256's constants (FIPS 180-4), a job, a session's work, a share. */

#ifndef LANES_SHA256_H
#define LANES_SHA256_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define EXTRANONCE2_SIZE 8
#define HASH_SIZE 32
#define BLOCK_SIZE 64
/* A block of 2^32 transactions; the same as nips.pool.job's. */
#define MAX_BRANCHES 32
/* extranonce2 lies in the first block after the kept state, or over the end of it. */
#define MAX_VARYING 2

/* A job, made ready: whatever of it is the same for all sessions is expanded once. Words are big-endian numbers. */
struct job {
    uint32_t state[8];       /* SHA-256 state over coinb1's whole blocks */
    uint8_t rest[BLOCK_SIZE]; /* what is left of coinb1, `rest_size` bytes */
    size_t rest_size;
    size_t extranonce2_at;   /* byte of extranonce2 within the varying blocks, 0..63 */
    size_t varying;          /* blocks that hold a part of binding, extranonces: 1 or 2 */
    uint32_t words[16 * MAX_VARYING]; /* those blocks, zero before the end of extranonce2 */
    size_t tail_blocks;      /* blocks of coinb2 and padding after them */
    uint32_t (*tail)[64];    /* their expanded words, each with its round's constant added */
    size_t branches;
    uint32_t branch[MAX_BRANCHES][8];
    uint32_t prevhash[8];
    uint32_t nbits;          /* as the header's bytes read as a big-endian word */
};

/* A session's work: the state over `coinb1 || binding || extranonce1`, and the blocks that extranonce2 falls into. */
struct bound {
    const struct job *job;
    uint32_t state[8];
    uint32_t words[16 * MAX_VARYING];
};

/* A share to hash. `fields`: ntime, nonce, version, little-endian u32 each. `hash`: where 32 bytes go. */
struct share {
    const struct bound *bound;
    const uint8_t *extranonce2;
    const uint8_t *fields;
    uint8_t *hash;
};

static const uint32_t INITIAL[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

static const uint32_t CONSTANTS[64] __attribute__((aligned(64))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* The expanded padding block of a 64-byte message, with the constants: every merkle branch ends with it. */
static uint32_t PADDING_64[64];

static inline uint32_t load_be32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static inline uint64_t load_be64(const uint8_t *at)
{
    return (uint64_t)load_be32(at) << 32 | load_be32(at + 4);
}

static inline void store_be32(uint8_t *at, uint32_t word)
{
    at[0] = word >> 24, at[1] = word >> 16 & 0xff, at[2] = word >> 8 & 0xff, at[3] = word & 0xff;
}

static inline uint32_t rotate(uint32_t word, int by)
{
    return word >> by | word << (32 - by);
}

/* The 64 words of a block that many messages share, each with its round's constant: rounds then need no expansion. */
static void expand_block(const uint8_t *block, uint32_t expanded[64])
{
    for (int i = 0; i < 16; i++)
        expanded[i] = load_be32(block + 4 * i);
    for (int i = 16; i < 64; i++) {
        uint32_t near = expanded[i - 2], far = expanded[i - 15];
        expanded[i] = expanded[i - 16] + expanded[i - 7] + (rotate(far, 7) ^ rotate(far, 18) ^ far >> 3)
                      + (rotate(near, 17) ^ rotate(near, 19) ^ near >> 10);
    }
    for (int i = 0; i < 64; i++)
        expanded[i] += CONSTANTS[i];
}

#endif
