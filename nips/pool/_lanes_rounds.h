/* SHA-256's rounds on vectors of LANES words, one message a lane, by the compiler's vector extensions. Included once a
 * width with VECTOR (a vector of u32, or u32 itself), LANES, TARGET and NAME defined, and XOR3, CHOOSE, MAJORITY where
 * the CPU has one instruction for them.
 */

#ifndef XOR3
#define XOR3(a, b, c) ((a) ^ (b) ^ (c))
#define CHOOSE(a, b, c) ((((b) ^ (c)) & (a)) ^ (c))
#define MAJORITY(a, b, c) (((a) & (b)) | (((a) | (b)) & (c)))
#endif
#define TURN(x, by) (((x) >> (by)) | ((x) << (32 - (by))))

#define ROUND(a, b, c, d, e, f, g, h, word)                                                                            \
    do {                                                                                                               \
        VECTOR sum = (h) + (word) + CHOOSE(e, f, g) + XOR3(TURN(e, 6), TURN(e, 11), TURN(e, 25));                      \
        (d) += sum;                                                                                                    \
        (h) = sum + MAJORITY(a, b, c) + XOR3(TURN(a, 2), TURN(a, 13), TURN(a, 22));                                    \
    } while (0)

#define EIGHT_ROUNDS(WORD, i)                                                                                          \
    do {                                                                                                               \
        ROUND(a, b, c, d, e, f, g, h, WORD((i) + 0));                                                                  \
        ROUND(h, a, b, c, d, e, f, g, WORD((i) + 1));                                                                  \
        ROUND(g, h, a, b, c, d, e, f, WORD((i) + 2));                                                                  \
        ROUND(f, g, h, a, b, c, d, e, WORD((i) + 3));                                                                  \
        ROUND(e, f, g, h, a, b, c, d, WORD((i) + 4));                                                                  \
        ROUND(d, e, f, g, h, a, b, c, WORD((i) + 5));                                                                  \
        ROUND(c, d, e, f, g, h, a, b, WORD((i) + 6));                                                                  \
        ROUND(b, c, d, e, f, g, h, a, WORD((i) + 7));                                                                  \
    } while (0)

#define LOAD_STATE                                                                                                     \
    VECTOR start[8];                                                                                                   \
    memcpy(start, state, sizeof start);                                                                                \
    VECTOR a = start[0], b = start[1], c = start[2], d = start[3], e = start[4], f = start[5], g = start[6],           \
           h = start[7]

#define ADD_STATE                                                                                                      \
    do {                                                                                                               \
        start[0] += a, start[1] += b, start[2] += c, start[3] += d;                                                    \
        start[4] += e, start[5] += f, start[6] += g, start[7] += h;                                                    \
        memcpy(state, start, sizeof start);                                                                            \
    } while (0)

/* One block of each lane: `words` are its 16 words, by word and lane, and are overwritten. */
static __attribute__((noinline)) TARGET void NAME(compress)(uint32_t *state, uint32_t *words)
{
    LOAD_STATE;
    VECTOR w[16];
    memcpy(w, words, sizeof w);
    for (int t = 0;; t += 16) {
#define WORD(i) (w[i] + CONSTANTS[t + (i)])
        EIGHT_ROUNDS(WORD, 0);
        EIGHT_ROUNDS(WORD, 8);
#undef WORD
        if (t == 48)
            break;
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            VECTOR near = w[(i + 14) & 15], far = w[(i + 1) & 15];
            w[i] += w[(i + 9) & 15] + XOR3(TURN(far, 7), TURN(far, 18), far >> 3)
                    + XOR3(TURN(near, 17), TURN(near, 19), near >> 10);
        }
    }
    ADD_STATE;
}

/* One block that is the same in all lanes, expanded before. */
static __attribute__((noinline)) TARGET void NAME(compress_same)(uint32_t *state, const uint32_t expanded[64])
{
    LOAD_STATE;
    for (int t = 0; t < 64; t += 8) {
#define WORD(i) (expanded[t + (i)])
        EIGHT_ROUNDS(WORD, 0);
#undef WORD
    }
    ADD_STATE;
}

#define STATE(word, lane) state[(word) * LANES + (lane)]
#define WORDS(word, lane) words[(word) * LANES + (lane)]
#include "_lanes_kernel.h"

#undef LOAD_STATE
#undef ADD_STATE
#undef EIGHT_ROUNDS
#undef ROUND
#undef TURN
#undef XOR3
#undef CHOOSE
#undef MAJORITY
