/* SHA-256's rounds by the x86 SHA instructions, two messages at a time: each round waits for the one before, and the
 * other message's fill the wait. Included once, with TARGET and NAME defined.
 */

#define LANES 2

/* state: 8 words a message. words: 16 words a message, or NULL when both have the block that `expanded` is of. */
static inline __attribute__((always_inline)) TARGET void NAME(rounds)(uint32_t *state, const uint32_t *words,
                                                                      const uint32_t *expanded)
{
    __m128i abef[LANES], cdgh[LANES], w[LANES][4];
#pragma GCC unroll 2
    for (int lane = 0; lane < LANES; lane++) {
        const __m128i *from = (const __m128i *)(state + 8 * lane);
        __m128i cdab = _mm_shuffle_epi32(_mm_loadu_si128(from), 0xb1);
        __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128(from + 1), 0x1b);
        abef[lane] = _mm_alignr_epi8(cdab, efgh, 8);
        cdgh[lane] = _mm_blend_epi16(efgh, cdab, 0xf0);
        if (words)
            for (int i = 0; i < 4; i++)
                w[lane][i] = _mm_loadu_si128((const __m128i *)(words + 16 * lane) + i);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
#pragma GCC unroll 2
        for (int lane = 0; lane < LANES; lane++) {
            __m128i sum;
            if (words) {
                __m128i *new = &w[lane][i & 3], before = w[lane][(i + 3) & 3];
                if (i >= 4) {
                    __m128i part = _mm_sha256msg1_epu32(*new, w[lane][(i + 1) & 3]);
                    part = _mm_add_epi32(part, _mm_alignr_epi8(before, w[lane][(i + 2) & 3], 4));
                    *new = _mm_sha256msg2_epu32(part, before);
                }
                sum = _mm_add_epi32(*new, _mm_load_si128((const __m128i *)CONSTANTS + i));
            } else {
                sum = _mm_loadu_si128((const __m128i *)expanded + i);
            }
            cdgh[lane] = _mm_sha256rnds2_epu32(cdgh[lane], abef[lane], sum);
            abef[lane] = _mm_sha256rnds2_epu32(abef[lane], cdgh[lane], _mm_shuffle_epi32(sum, 0x0e));
        }
    }
#pragma GCC unroll 2
    for (int lane = 0; lane < LANES; lane++) {
        __m128i *to = (__m128i *)(state + 8 * lane);
        __m128i feba = _mm_shuffle_epi32(abef[lane], 0x1b), dchg = _mm_shuffle_epi32(cdgh[lane], 0xb1);
        __m128i abcd = _mm_blend_epi16(feba, dchg, 0xf0), efgh = _mm_alignr_epi8(dchg, feba, 8);
        _mm_storeu_si128(to, _mm_add_epi32(_mm_loadu_si128(to), abcd));
        _mm_storeu_si128(to + 1, _mm_add_epi32(_mm_loadu_si128(to + 1), efgh));
    }
}

static __attribute__((noinline)) TARGET void NAME(compress)(uint32_t *state, uint32_t *words)
{
    NAME(rounds)(state, words, NULL);
}

static __attribute__((noinline)) TARGET void NAME(compress_same)(uint32_t *state, const uint32_t expanded[64])
{
    NAME(rounds)(state, NULL, expanded);
}

#define STATE(word, lane) state[(lane) * 8 + (word)]
#define WORDS(word, lane) words[(lane) * 16 + (word)]
#include "_lanes_kernel.h"
