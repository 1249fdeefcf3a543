/* The native hash lanes: many shares' hashes a call, several at once (see nips/pool/lanes.py for what it is to Python).
 *
 * The limited API of Python 3.11, so that one build serves every later version. Nothing here keeps Python objects but a
 * session's work its job: there are no cycles, and nothing for the garbage collector to walk.
 */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>
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

/* Shares' work that is given away in one piece only without the interpreter's lock, so that threads run beside. An edge's
 * turn has fewer: giving the lock away there could cost it the 5 ms that another thread may then keep it.
 */
#define UNLOCKED_SHARES 256
/* Shares of a call that need no memory beyond the stack's. */
#define STACK_SHARES 64
/* struct "<8sIII": extranonce2, ntime, nonce, version. */
#define SHARE_SIZE 20
/* A receipt's record (nips.pool.receipt): session u16, job u8, status u8, ms u32, then the fields, then extranonce2. */
#define RECORD_SIZE 28
#define RECORD_FIELDS 8
#define RECORD_EXTRANONCE2 20
#define RECORD_PLACE 0xffffff
#define BINDING_SIZE 32
#define EXTRANONCE1_SIZE 4

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

/* What is used when no kernel is named: the wide one for `wide_least` shares or more, the narrow one for what is left. */
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

static void hash_unlocked(struct share *shares, size_t count, int jobs, const struct kernel *kernel)
{
    if (count < UNLOCKED_SHARES) {
        hash_all(shares, count, jobs, kernel);
        return;
    }
    Py_BEGIN_ALLOW_THREADS
    hash_all(shares, count, jobs, kernel);
    Py_END_ALLOW_THREADS
}

typedef struct {
    PyObject_HEAD
    struct job job;
} JobObject;

typedef struct {
    PyObject_HEAD
    PyObject *job;
    struct bound bound;
} BoundObject;

static PyTypeObject *job_type, *bound_type;

static void free_object(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static void job_dealloc(PyObject *self)
{
    PyMem_Free(((JobObject *)self)->job.tail);
    free_object(self);
}

static void bound_dealloc(PyObject *self)
{
    Py_XDECREF(((BoundObject *)self)->job);
    free_object(self);
}

static int expect_size(const char *what, Py_ssize_t size, Py_ssize_t expected)
{
    if (size == expected)
        return 1;
    PyErr_Format(PyExc_ValueError, "%s has %zd bytes, not %zd", what, expected, size);
    return 0;
}

/* SHA-256 of whole blocks that no one else hashes. */
static void absorb(uint32_t state[8], const uint8_t *block)
{
    uint32_t words[16];
    for (int i = 0; i < 16; i++)
        words[i] = load_be32(block + 4 * i);
    compress_scalar(state, words);
}

/* The blocks from extranonce2's on: coinb2 and the padding, with room for what stands before. */
static int fill_tail(struct job *job, size_t prefix, const uint8_t *coinb2, size_t size)
{
    size_t used = job->extranonce2_at + EXTRANONCE2_SIZE + size;
    size_t blocks = (used + 9 + BLOCK_SIZE - 1) / BLOCK_SIZE;
    uint64_t bits = 8 * (uint64_t)(prefix + EXTRANONCE2_SIZE + size);
    uint8_t *bytes = PyMem_Calloc(blocks, BLOCK_SIZE);
    job->varying = job->extranonce2_at + EXTRANONCE2_SIZE > BLOCK_SIZE ? 2 : 1;
    job->tail_blocks = blocks - job->varying;
    job->tail = PyMem_Calloc(job->tail_blocks ? job->tail_blocks : 1, sizeof *job->tail);
    if (!bytes || !job->tail) {
        PyMem_Free(bytes);
        PyErr_NoMemory();
        return 0;
    }
    memcpy(bytes + job->extranonce2_at + EXTRANONCE2_SIZE, coinb2, size);
    bytes[used] = 0x80;
    store_be32(bytes + blocks * BLOCK_SIZE - 8, (uint32_t)(bits >> 32));
    store_be32(bytes + blocks * BLOCK_SIZE - 4, (uint32_t)bits);
    for (size_t i = 0; i < 16 * job->varying; i++)
        job->words[i] = load_be32(bytes + 4 * i);
    for (size_t i = 0; i < job->tail_blocks; i++)
        expand_block(bytes + (job->varying + i) * BLOCK_SIZE, job->tail[i]);
    PyMem_Free(bytes);
    return 1;
}

PyDoc_STRVAR(job_doc, "Job(coinb1, coinb2, branches, prevhash, nbits)\n--\n\n"
                      "A job made ready to hash. `branches`: 32 bytes each, joined. Hashes are in serialisation order.");

static PyObject *job_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    Py_buffer coinb1, coinb2, branches, prevhash;
    PyObject *nbits_object;
    if (kwargs && PyDict_Size(kwargs)) {
        PyErr_SetString(PyExc_TypeError, "Job takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "y*y*y*y*O:Job", &coinb1, &coinb2, &branches, &prevhash, &nbits_object))
        return NULL;
    JobObject *self = NULL;
    unsigned long nbits = PyLong_Check(nbits_object) ? PyLong_AsUnsignedLong(nbits_object) : (unsigned long)-1;
    if (PyErr_Occurred() || nbits > 0xffffffff) {
        PyErr_Clear();
        PyErr_SetString(PyExc_ValueError, "nbits is a u32");
    } else if (branches.len % HASH_SIZE || branches.len > MAX_BRANCHES * HASH_SIZE) {
        PyErr_Format(PyExc_ValueError, "branches are up to %d of 32 bytes, not %zd bytes", MAX_BRANCHES, branches.len);
    } else if (expect_size("prevhash", prevhash.len, HASH_SIZE)) {
        self = (JobObject *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    }
    if (self) {
        struct job *job = &self->job;
        const uint8_t *from = coinb1.buf;
        memcpy(job->state, INITIAL, sizeof INITIAL);
        for (Py_ssize_t at = 0; coinb1.len - at >= BLOCK_SIZE; at += BLOCK_SIZE)
            absorb(job->state, from + at);
        job->rest_size = (size_t)coinb1.len % BLOCK_SIZE;
        if (job->rest_size)
            memcpy(job->rest, from + coinb1.len - job->rest_size, job->rest_size);
        job->branches = (size_t)branches.len / HASH_SIZE;
        for (size_t i = 0; i < 8 * job->branches; i++)
            job->branch[i / 8][i % 8] = load_be32((const uint8_t *)branches.buf + 4 * i);
        for (int i = 0; i < 8; i++)
            job->prevhash[i] = load_be32((const uint8_t *)prevhash.buf + 4 * i);
        job->nbits = __builtin_bswap32((uint32_t)nbits);
        size_t prefix = (size_t)coinb1.len + BINDING_SIZE + EXTRANONCE1_SIZE;
        job->extranonce2_at = prefix % BLOCK_SIZE;
        if (!fill_tail(job, prefix, coinb2.buf, (size_t)coinb2.len)) {
            Py_DECREF(self);
            self = NULL;
        }
    }
    PyBuffer_Release(&coinb1);
    PyBuffer_Release(&coinb2);
    PyBuffer_Release(&branches);
    PyBuffer_Release(&prevhash);
    return (PyObject *)self;
}

PyDoc_STRVAR(bind_doc, "bind($self, binding, extranonce1, /)\n--\n\n"
                       "The job as one session hashes it. `binding`: 32 bytes; `extranonce1`: 4.");

static PyObject *job_bind(PyObject *self, PyObject *args)
{
    const struct job *job = &((JobObject *)self)->job;
    Py_buffer binding, extranonce1;
    if (!PyArg_ParseTuple(args, "y*y*:bind", &binding, &extranonce1))
        return NULL;
    BoundObject *made = NULL;
    if (expect_size("binding", binding.len, BINDING_SIZE)
        && expect_size("extranonce1", extranonce1.len, EXTRANONCE1_SIZE))
        made = (BoundObject *)((allocfunc)PyType_GetSlot(bound_type, Py_tp_alloc))(bound_type, 0);
    if (made) {
        uint8_t bytes[2 * BLOCK_SIZE] = {0};
        struct bound *bound = &made->bound;
        size_t size = job->rest_size;
        made->job = Py_NewRef(self);
        bound->job = job;
        memcpy(bytes, job->rest, size);
        memcpy(bytes + size, binding.buf, BINDING_SIZE);
        memcpy(bytes + size + BINDING_SIZE, extranonce1.buf, EXTRANONCE1_SIZE);
        size += BINDING_SIZE + EXTRANONCE1_SIZE;
        memcpy(bound->state, job->state, sizeof bound->state);
        if (size >= BLOCK_SIZE)
            absorb(bound->state, bytes);
        const uint8_t *rest = bytes + (size >= BLOCK_SIZE ? BLOCK_SIZE : 0);
        memcpy(bound->words, job->words, sizeof bound->words);
        for (int i = 0; i < 16; i++)
            bound->words[i] |= load_be32(rest + 4 * i);
    }
    PyBuffer_Release(&binding);
    PyBuffer_Release(&extranonce1);
    return (PyObject *)made;
}

/* A u32 into the header's bytes. */
static int read_u32(PyObject *number, const char *what, uint8_t *to)
{
    unsigned long value = PyLong_Check(number) ? PyLong_AsUnsignedLong(number) : (unsigned long)-1;
    if (PyErr_Occurred() || value > 0xffffffff) {
        PyErr_Clear();
        PyErr_Format(PyExc_ValueError, "%s is a u32", what);
        return 0;
    }
    to[0] = value & 0xff, to[1] = value >> 8 & 0xff, to[2] = value >> 16 & 0xff, to[3] = value >> 24 & 0xff;
    return 1;
}

PyDoc_STRVAR(hash_doc, "hash($self, extranonce2, ntime, nonce, version, /)\n--\n\n"
                       "One share's hash, 32 bytes in serialisation order.");

static PyObject *bound_hash(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    uint8_t fields[12], hash[HASH_SIZE];
    char *extranonce2;
    Py_ssize_t size;
    if (count != 4) {
        PyErr_Format(PyExc_TypeError, "hash takes 4 arguments, not %zd", count);
        return NULL;
    }
    if (PyBytes_AsStringAndSize(args[0], &extranonce2, &size) < 0
        || !expect_size("extranonce2", size, EXTRANONCE2_SIZE) || !read_u32(args[1], "ntime", fields)
        || !read_u32(args[2], "nonce", fields + 4) || !read_u32(args[3], "version", fields + 8))
        return NULL;
    struct share share = {&((BoundObject *)self)->bound, (const uint8_t *)extranonce2, fields, hash};
    narrow->hash_shares(&share, 1);
    return PyBytes_FromStringAndSize((const char *)hash, HASH_SIZE);
}

static int is_bound(PyObject *object)
{
    if (Py_IS_TYPE(object, bound_type))
        return 1;
    PyErr_SetString(PyExc_TypeError, "shares are hashed for what bind() of the native lanes gave");
    return 0;
}

/* The kernel of that number, NULL for -1 (choose the best). */
static int find_kernel(int number, const struct kernel **kernel)
{
    *kernel = NULL;
    if (number == -1)
        return 1;
    if (number < 0 || number >= KERNELS || !kernels[number].usable) {
        PyErr_Format(PyExc_ValueError, "kernel %d is not there, or not for this CPU", number);
        return 0;
    }
    *kernel = &kernels[number];
    return 1;
}

PyDoc_STRVAR(hash_shares_doc, "hash_shares(bounds, shares, kernel=-1, /)\n--\n\n"
                              "The hashes of packed shares (\"<8sIII\"), the n-th for the n-th of `bounds`, joined.");

static PyObject *lanes_hash_shares(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *given, *result = NULL;
    Py_buffer packed;
    int number = -1;
    const struct kernel *kernel;
    struct share few[STACK_SHARES], *shares = few;
    if (!PyArg_ParseTuple(args, "Oy*|i:hash_shares", &given, &packed, &number))
        return NULL;
    /* A tuple of our own: a list could change while the lock is away. */
    PyObject *bounds = PySequence_Tuple(given);
    if (!bounds)
        goto done;
    Py_ssize_t count = PyTuple_Size(bounds);
    if (packed.len % SHARE_SIZE || packed.len / SHARE_SIZE != count) {
        PyErr_Format(PyExc_ValueError, "%zd shares are %zd bytes, not %zd", count, count * SHARE_SIZE, packed.len);
        goto done;
    }
    if (!find_kernel(number, &kernel) || !(result = PyBytes_FromStringAndSize(NULL, count * HASH_SIZE)))
        goto done;
    if (count > STACK_SHARES && !(shares = PyMem_Malloc((size_t)count * sizeof *shares))) {
        PyErr_NoMemory();
        Py_CLEAR(result);
        goto done;
    }
    uint8_t *hash = (uint8_t *)PyBytes_AsString(result);
    const uint8_t *from = packed.buf;
    int jobs = 1;
    for (Py_ssize_t i = 0; i < count; i++, from += SHARE_SIZE, hash += HASH_SIZE) {
        PyObject *bound = PyTuple_GetItem(bounds, i);
        if (!is_bound(bound)) {
            Py_CLEAR(result);
            goto done;
        }
        shares[i] = (struct share){&((BoundObject *)bound)->bound, from, from + EXTRANONCE2_SIZE, hash};
        if (shares[i].bound->job != shares[0].bound->job)
            jobs = 2;
    }
    hash_unlocked(shares, (size_t)count, jobs, kernel);
done:
    if (shares != few)
        PyMem_Free(shares);
    Py_XDECREF(bounds);
    PyBuffer_Release(&packed);
    return result;
}

/* Bound work by its place (session | job << 16) in a receipt: open addressing, a power of two of slots, half empty. */
struct places {
    size_t mask;
    struct place {
        uint32_t key;
        PyObject *bound;
    } *slots;
};

static struct place *find_place(const struct places *places, uint32_t key)
{
    size_t at = key * 2654435761u >> 8;
    while (places->slots[at & places->mask].bound && places->slots[at & places->mask].key != key)
        at++;
    return &places->slots[at & places->mask];
}

static int fill_places(struct places *places, PyObject *bounds)
{
    Py_ssize_t at = 0;
    PyObject *key, *bound;
    size_t slots = 4;
    while (slots < 2 * (size_t)PyDict_Size(bounds))
        slots *= 2;
    places->mask = slots - 1;
    if (!(places->slots = PyMem_Calloc(slots, sizeof *places->slots))) {
        PyErr_NoMemory();
        return 0;
    }
    while (PyDict_Next(bounds, &at, &key, &bound)) {
        unsigned long number = PyLong_Check(key) ? PyLong_AsUnsignedLong(key) : (unsigned long)-1;
        if (PyErr_Occurred() || number > RECORD_PLACE) {
            PyErr_Clear();
            PyErr_SetString(PyExc_ValueError, "a place in a receipt is session | job << 16");
            return 0;
        }
        if (!is_bound(bound))
            return 0;
        struct place *place = find_place(places, (uint32_t)number);
        place->key = (uint32_t)number;
        place->bound = Py_NewRef(bound);
    }
    return 1;
}

static void free_places(struct places *places)
{
    if (places->slots)
        for (size_t i = 0; i <= places->mask; i++)
            Py_XDECREF(places->slots[i].bound);
    PyMem_Free(places->slots);
}

PyDoc_STRVAR(hash_records_doc,
             "hash_records(bounds, records, kernel=-1, /)\n--\n\n"
             "The hashes of a receipt's packed records, joined. `bounds` is a dict by session | job << 16; a record\n"
             "whose place is not in it gets 32 bytes of 0xff, which meet no target.");

static PyObject *lanes_hash_records(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *bounds, *result = NULL;
    Py_buffer packed;
    int number = -1;
    const struct kernel *kernel;
    struct places places = {0, NULL};
    struct share *shares = NULL;
    if (!PyArg_ParseTuple(args, "O!y*|i:hash_records", &PyDict_Type, &bounds, &packed, &number))
        return NULL;
    if (packed.len % RECORD_SIZE) {
        PyErr_Format(PyExc_ValueError, "records of %d bytes do not fill %zd", RECORD_SIZE, packed.len);
        goto done;
    }
    size_t records = (size_t)packed.len / RECORD_SIZE, count = 0;
    if (!find_kernel(number, &kernel) || !fill_places(&places, bounds))
        goto done;
    if (!(shares = PyMem_Malloc(records * sizeof *shares + 1))) {
        PyErr_NoMemory();
        goto done;
    }
    if (!(result = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)records * HASH_SIZE)))
        goto done;
    uint8_t *hash = (uint8_t *)PyBytes_AsString(result);
    const uint8_t *from = packed.buf;
    int jobs = 1;
    for (size_t i = 0; i < records; i++, from += RECORD_SIZE, hash += HASH_SIZE) {
        uint32_t key = from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16;
        PyObject *bound = find_place(&places, key)->bound;
        if (!bound) {
            memset(hash, 0xff, HASH_SIZE);
            continue;
        }
        shares[count] = (struct share){&((BoundObject *)bound)->bound, from + RECORD_EXTRANONCE2,
                                       from + RECORD_FIELDS, hash};
        if (shares[count].bound->job != shares[0].bound->job)
            jobs = 2;
        count++;
    }
    hash_unlocked(shares, count, jobs, kernel);
done:
    PyMem_Free(shares);
    free_places(&places);
    PyBuffer_Release(&packed);
    return result;
}

PyDoc_STRVAR(sha256_doc, "sha256(message, kernel, /)\n--\n\n"
                         "SHA-256 of a message by one kernel, from each of its lanes: the digests, joined.");

static PyObject *lanes_sha256(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer message;
    int number;
    const struct kernel *kernel;
    PyObject *result = NULL;
    uint8_t *padded = NULL;
    if (!PyArg_ParseTuple(args, "y*i:sha256", &message, &number))
        return NULL;
    if (!find_kernel(number, &kernel))
        goto done;
    if (!kernel) {
        PyErr_SetString(PyExc_ValueError, "name a kernel by its number");
        goto done;
    }
    size_t size = (size_t)message.len, blocks = (size + 9 + BLOCK_SIZE - 1) / BLOCK_SIZE;
    if (!(padded = PyMem_Calloc(blocks, BLOCK_SIZE))) {
        PyErr_NoMemory();
        goto done;
    }
    if (size)
        memcpy(padded, message.buf, size);
    padded[size] = 0x80;
    store_be32(padded + blocks * BLOCK_SIZE - 8, (uint32_t)((uint64_t)size >> 29));
    store_be32(padded + blocks * BLOCK_SIZE - 4, (uint32_t)((uint64_t)size << 3));
    if ((result = PyBytes_FromStringAndSize(NULL, kernel->lanes * HASH_SIZE)))
        kernel->hash_message(padded, blocks, (uint8_t *)PyBytes_AsString(result));
done:
    PyMem_Free(padded);
    PyBuffer_Release(&message);
    return result;
}

PyDoc_STRVAR(kernels_doc, "kernels()\n--\n\n"
                          "What there is: (name, lanes, whether this CPU can) each, by its number; and the numbers of\n"
                          "those that are used when none is named, the wide one and the narrow one.");

static PyObject *lanes_kernels(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none))
{
    PyObject *list = PyList_New(0);
    if (!list)
        return NULL;
    for (int i = 0; i < KERNELS; i++) {
        PyObject *row = Py_BuildValue("siO", kernels[i].name, kernels[i].lanes, kernels[i].usable ? Py_True : Py_False);
        if (!row || PyList_Append(list, row) < 0) {
            Py_XDECREF(row);
            Py_DECREF(list);
            return NULL;
        }
        Py_DECREF(row);
    }
    return Py_BuildValue("Nii", list, (int)(wide - kernels), (int)(narrow - kernels));
}

static PyMethodDef job_methods[] = {{"bind", job_bind, METH_VARARGS, bind_doc}, {NULL, NULL, 0, NULL}};

static PyMethodDef bound_methods[] = {
    {"hash", (PyCFunction)(void (*)(void))bound_hash, METH_FASTCALL, hash_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot job_slots[] = {
    {Py_tp_doc, (void *)job_doc},
    {Py_tp_new, job_new},
    {Py_tp_dealloc, job_dealloc},
    {Py_tp_methods, job_methods},
    {0, NULL},
};

static PyType_Slot bound_slots[] = {
    {Py_tp_doc, "A job as one session hashes it."},
    {Py_tp_dealloc, bound_dealloc},
    {Py_tp_methods, bound_methods},
    {0, NULL},
};

static PyType_Spec job_spec = {"nips.pool._lanes.Job", sizeof(JobObject), 0, Py_TPFLAGS_DEFAULT, job_slots};
static PyType_Spec bound_spec = {"nips.pool._lanes.Bound", sizeof(BoundObject), 0,
                                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, bound_slots};

static PyMethodDef functions[] = {
    {"hash_shares", lanes_hash_shares, METH_VARARGS, hash_shares_doc},
    {"hash_records", lanes_hash_records, METH_VARARGS, hash_records_doc},
    {"sha256", lanes_sha256, METH_VARARGS, sha256_doc},
    {"kernels", lanes_kernels, METH_NOARGS, kernels_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT, "nips.pool._lanes", "The native hash lanes.", -1, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__lanes(void)
{
    static const uint8_t padding[BLOCK_SIZE] = {[0] = 0x80, [BLOCK_SIZE - 2] = 8 * BLOCK_SIZE >> 8};
    expand_block(padding, PADDING_64);
    choose_kernels();
    PyObject *module = PyModule_Create(&module_def);
    if (!module)
        return NULL;
    if (!job_type)
        job_type = (PyTypeObject *)PyType_FromSpec(&job_spec);
    if (!bound_type)
        bound_type = (PyTypeObject *)PyType_FromSpec(&bound_spec);
    if (!job_type || !bound_type || PyModule_AddObjectRef(module, "Job", (PyObject *)job_type) < 0
        || PyModule_AddObjectRef(module, "Bound", (PyObject *)bound_type) < 0) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
