/* A share's way to its hash, for LANES shares of one job at once (SPEC.md, "The binding"). Included once a kernel, with
 * compress and compress_same defined, and STATE and WORDS saying where a lane's word lies.
 */

#define EACH(count, BODY)                                                                                              \
    for (int i = 0; i < (count); i++)                                                                                  \
        for (int lane = 0; lane < LANES; lane++)                                                                       \
            BODY

/* The state becomes that of sha256(digest), the digest being what the state holds. */
static inline TARGET void NAME(hash_again)(uint32_t *state, uint32_t *words)
{
    EACH(8, WORDS(i, lane) = STATE(i, lane));
    EACH(7, WORDS(8 + i, lane) = i ? 0 : 0x80000000);
    EACH(1, WORDS(15, lane) = 8 * HASH_SIZE);
    EACH(8, STATE(i, lane) = INITIAL[i]);
    NAME(compress)(state, words);
}

/* 1 to LANES shares of one job; lanes that are left over hash the last share again. */
static TARGET void NAME(hash_shares)(const struct share *shares, size_t count)
{
    const struct job *job = shares[0].bound->job;
    uint32_t state[8 * LANES] __attribute__((aligned(64)));
    uint32_t words[16 * LANES] __attribute__((aligned(64)));
    const struct share *share[LANES];
    for (int lane = 0; lane < LANES; lane++)
        share[lane] = &shares[(size_t)lane < count ? (size_t)lane : count - 1];
    EACH(8, STATE(i, lane) = share[lane]->bound->state[i]);

    /* extranonce2 starts at any byte: it touches two words, or three. */
    size_t at = job->extranonce2_at / 4;
    int shift = 8 * (int)(job->extranonce2_at % 4);
    for (size_t block = 0; block < job->varying; block++) {
        EACH(16, WORDS(i, lane) = share[lane]->bound->words[16 * block + i]);
        for (int lane = 0; lane < LANES; lane++) {
            uint64_t extranonce2 = load_be64(share[lane]->extranonce2);
            uint32_t part[3] = {(uint32_t)(extranonce2 >> 32 >> shift), (uint32_t)(extranonce2 >> shift),
                                shift ? (uint32_t)(extranonce2 << (32 - shift)) : 0};
            for (size_t i = 0; i < 3; i++)
                if ((at + i) / 16 == block)
                    WORDS((at + i) % 16, lane) |= part[i];
        }
        NAME(compress)(state, words);
    }
    for (size_t block = 0; block < job->tail_blocks; block++)
        NAME(compress_same)(state, job->tail[block]);
    NAME(hash_again)(state, words);

    for (size_t branch = 0; branch < job->branches; branch++) {
        EACH(8, WORDS(i, lane) = STATE(i, lane));
        EACH(8, WORDS(8 + i, lane) = job->branch[branch][i]);
        EACH(8, STATE(i, lane) = INITIAL[i]);
        NAME(compress)(state, words);
        NAME(compress_same)(state, PADDING_64);
        NAME(hash_again)(state, words);
    }

    uint32_t last[LANES];
    for (int lane = 0; lane < LANES; lane++) {
        WORDS(0, lane) = load_be32(share[lane]->fields + 8);
        last[lane] = STATE(7, lane);
    }
    EACH(8, WORDS(1 + i, lane) = job->prevhash[i]);
    EACH(7, WORDS(9 + i, lane) = STATE(i, lane));
    EACH(8, STATE(i, lane) = INITIAL[i]);
    NAME(compress)(state, words);
    for (int lane = 0; lane < LANES; lane++) {
        WORDS(0, lane) = last[lane];
        WORDS(1, lane) = load_be32(share[lane]->fields);
        WORDS(2, lane) = job->nbits;
        WORDS(3, lane) = load_be32(share[lane]->fields + 4);
    }
    EACH(11, WORDS(4 + i, lane) = i ? 0 : 0x80000000);
    EACH(1, WORDS(15, lane) = 8 * 80);
    NAME(compress)(state, words);
    NAME(hash_again)(state, words);
    for (int lane = 0; lane < LANES && (size_t)lane < count; lane++)
        for (int i = 0; i < 8; i++)
            store_be32(share[lane]->hash + 4 * i, STATE(i, lane));
}

/* SHA-256 of a padded message of so many blocks, in every lane: LANES digests go to `digests`. */
static TARGET void NAME(hash_message)(const uint8_t *message, size_t blocks, uint8_t *digests)
{
    uint32_t state[8 * LANES] __attribute__((aligned(64)));
    uint32_t words[16 * LANES] __attribute__((aligned(64)));
    EACH(8, STATE(i, lane) = INITIAL[i]);
    for (; blocks; blocks--, message += BLOCK_SIZE) {
        EACH(16, WORDS(i, lane) = load_be32(message + 4 * i));
        NAME(compress)(state, words);
    }
    EACH(8, store_be32(digests + HASH_SIZE * lane + 4 * i, STATE(i, lane)));
}

#undef EACH
#undef STATE
#undef WORDS
#undef LANES
#undef VECTOR
#undef TARGET
#undef NAME
