/* What Python holds between calls: a job made ready, and a session's work on it, which keeps its job. */

#ifndef LANES_WORK_H
#define LANES_WORK_H

#include "_lanes_dispatch.h"

#define BINDING_SIZE 32
#define EXTRANONCE1_SIZE 4

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
                      "A job made ready. `branches`: 32 bytes each, joined. Hashes are in serialisation order.");

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

#endif
