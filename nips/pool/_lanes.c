/* The native hash lanes: many shares' hashes a call, several at once (see nips/pool/lanes.py for what it is to Python).
 *
 * The limited API of Python 3.11, so that one build serves every later version. Nothing here keeps Python objects but a
 * session's work its job: there are no cycles, and nothing for the garbage collector to walk.
 */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include "_lanes_work.h"

/* From so many shares on a call hashes without the interpreter's lock, so that threads run beside. An edge's turn has
 * fewer: giving the lock away there could cost it the 5 ms that another thread may then keep it.
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
        /* Two keys of one value can be, in a dict of a subclass of int. */
        Py_XDECREF(place->bound);
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
