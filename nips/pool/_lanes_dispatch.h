/* The kernels, which of them this CPU can, and shares of any jobs spread over their lanes. */

#ifndef LANES_DISPATCH_H
#define LANES_DISPATCH_H

#include <stdlib.h>

#include "_lanes_sha256.h"

#define TARGET
#define NAME(name) name##_scalar
#define VECTOR uint32_t
#define LANES 1
#include "_lanes_rounds.h"

typedef uint32_t words4 __attribute__((vector_size(16)));
#define TARGET
#define NAME(name) name##_4
#define VECTOR words4
#define LANES 4
#include "_lanes_rounds.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

typedef uint32_t words8 __attribute__((vector_size(32)));
#define TARGET __attribute__((target("avx2")))
#define NAME(name) name##_8
#define VECTOR words8
#define LANES 8
#include "_lanes_rounds.h"

typedef uint32_t words16 __attribute__((vector_size(64)));
#define TARGET __attribute__((target("avx512f")))
#define NAME(name) name##_16
#define VECTOR words16
#define LANES 16
/* Any function of three bits is one instruction; the number is its truth table. */
#define TERNARY(a, b, c, table) ((words16)_mm512_ternarylogic_epi32((__m512i)(a), (__m512i)(b), (__m512i)(c), table))
#define XOR3(a, b, c) TERNARY(a, b, c, 0x96)
#define CHOOSE(a, b, c) TERNARY(a, b, c, 0xca)
#define MAJORITY(a, b, c) TERNARY(a, b, c, 0xe8)
#include "_lanes_rounds.h"

#define TARGET __attribute__((target("sha,sse4.1,ssse3")))
#define NAME(name) name##_sha
#include "_lanes_shani.h"
#endif

struct kernel {
    const char *name;
    int lanes;
    void (*hash_shares)(const struct share *, size_t);
    void (*hash_message)(const uint8_t *, size_t, uint8_t *);
    int usable;
};

enum { SCALAR, LANES_4, LANES_8, LANES_16, SHA, KERNELS };

static struct kernel kernels[KERNELS] = {
    [SCALAR] = {"scalar", 1, hash_shares_scalar, hash_message_scalar, 1},
    [LANES_4] = {"4 lanes", 4, hash_shares_4, hash_message_4, 1},
#if defined(__x86_64__)
    [LANES_8] = {"8 lanes (avx2)", 8, hash_shares_8, hash_message_8, 0},
    [LANES_16] = {"16 lanes (avx512)", 16, hash_shares_16, hash_message_16, 0},
    [SHA] = {"2 lanes (sha)", 2, hash_shares_sha, hash_message_sha, 0},
#else
    [LANES_8] = {"8 lanes (avx2)", 8, NULL, NULL, 0},
    [LANES_16] = {"16 lanes (avx512)", 16, NULL, NULL, 0},
    [SHA] = {"2 lanes (sha)", 2, NULL, NULL, 0},
#endif
};

/* A kernel's time is that of all its lanes, used or not. Measured: 16 lanes take as long as 14 shares by the SHA
 * instructions, 8 lanes never catch up with those; without them 2 shares are worth any vector.
 */
#define WIDE_LEAST_BESIDE_SHA 14
#define WIDE_LEAST_BESIDE_SCALAR 2

/* Used when no kernel is named: the wide one for `wide_least` shares or more, the narrow one for what is left. */
static const struct kernel *wide, *narrow;
static size_t wide_least;

static void choose_kernels(void)
{
#if defined(__x86_64__)
    unsigned eax, ebx, ecx, edx;
    __builtin_cpu_init();
    kernels[LANES_8].usable = __builtin_cpu_supports("avx2") != 0;
    kernels[LANES_16].usable = __builtin_cpu_supports("avx512f") != 0;
    /* The compiler's name for the SHA instructions came later than they did. */
    kernels[SHA].usable = __builtin_cpu_supports("sse4.1") && __builtin_cpu_supports("ssse3")
                          && __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (ebx & bit_SHA);
#endif
    narrow = &kernels[kernels[SHA].usable ? SHA : SCALAR];
    wide_least = kernels[SHA].usable ? WIDE_LEAST_BESIDE_SHA : WIDE_LEAST_BESIDE_SCALAR;
    if (kernels[LANES_16].usable)
        wide = &kernels[LANES_16];
    else if (kernels[SHA].usable)
        wide = narrow;
    else
        wide = &kernels[kernels[LANES_8].usable ? LANES_8 : LANES_4];
}

static void hash_job(const struct share *shares, size_t count, const struct kernel *kernel)
{
    while (count) {
        const struct kernel *next = kernel ? kernel : count >= wide_least ? wide : narrow;
        size_t taken = count < (size_t)next->lanes ? count : (size_t)next->lanes;
        next->hash_shares(shares, taken);
        shares += taken, count -= taken;
    }
}

static int by_job(const void *left, const void *right)
{
    uintptr_t a = (uintptr_t)((const struct share *)left)->bound->job;
    uintptr_t b = (uintptr_t)((const struct share *)right)->bound->job;
    return (a > b) - (a < b);
}

/* Shares of any jobs; their order is lost. */
static void hash_all(struct share *shares, size_t count, int jobs, const struct kernel *kernel)
{
    if (jobs > 1)
        qsort(shares, count, sizeof *shares, by_job);
    while (count) {
        size_t same = jobs > 1 ? 1 : count;
        while (same < count && shares[same].bound->job == shares->bound->job)
            same++;
        hash_job(shares, same, kernel);
        shares += same, count -= same;
    }
}

#endif
