/* A QEMU plugin that counts how often every block of code runs between marks.

   The few declarations of QEMU's plugin interface, version 1, that it needs stand here, so no header has to be
   installed. A block is straight code: counting its entries counts each of its instructions. Whenever the function at
   the address `mark` is entered, one line is printed for each block that ran since: "number-of-mark address
   instructions times"; a block that was translated again has several lines. */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef struct qemu_info_t qemu_info_t;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };
typedef void (*on_translation)(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void (*on_execution)(unsigned int, void *);
typedef void (*on_exit_t)(qemu_plugin_id_t, void *);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, on_translation);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, enum qemu_plugin_op, void *, uint64_t);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, on_execution, enum qemu_plugin_cb_flags, void *);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, on_exit_t, void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

typedef struct {
    uint64_t address, instructions, times, before;
} block;

static block **blocks;
static size_t count, room;
static uint64_t mark;
static unsigned marks;
static FILE *file;

static void marked(unsigned int cpu, void *data)
{
    (void)cpu, (void)data;
    for (size_t i = 0; i < count; i++) {
        block *b = blocks[i];
        if (b->times != b->before)
            fprintf(file, "%u %" PRIx64 " %" PRIu64 " %" PRIu64 "\n", marks, b->address, b->instructions,
                    b->times - b->before);
        b->before = b->times;
    }
    marks++;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    (void)id;
    block *b = calloc(1, sizeof *b);
    if (count == room)
        blocks = realloc(blocks, (room = room ? 2 * room : 1024) * sizeof *blocks);
    if (!b || !blocks)
        abort();
    b->address = qemu_plugin_tb_vaddr(tb);
    b->instructions = qemu_plugin_tb_n_insns(tb);
    blocks[count++] = b;
    qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &b->times, 1);
    if (b->address == mark)
        qemu_plugin_register_vcpu_tb_exec_cb(tb, marked, QEMU_PLUGIN_CB_NO_REGS, 0);
}

static void finished(qemu_plugin_id_t id, void *data)
{
    (void)id, (void)data;
    fclose(file);
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc,
                                                               char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++) {
        if (!strncmp(argv[i], "mark=", 5))
            mark = strtoull(argv[i] + 5, 0, 16);
        if (!strncmp(argv[i], "counts=", 7))
            file = fopen(argv[i] + 7, "w");
    }
    if (!file || !mark)
        return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, finished, 0);
    return 0;
}
