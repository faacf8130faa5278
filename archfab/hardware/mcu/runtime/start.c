/* The vector table, and what runs before and around the network on a simulated board. */
#include <stdint.h>

extern uint32_t af_stack_end;
extern void af_load(void), af_network(void), af_show(void);

void af_start(void);
static void fault(void);

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    &af_stack_end, af_start, fault, fault, fault, fault, fault, 0, 0, 0, 0, fault, fault, 0, fault, fault};

#define HARNESS __attribute__((section(".harness"), noinline))

/* Semihosting (Arm, Semihosting for AArch32 and AArch64): the debugger, here QEMU, does what r0 says. */
HARNESS static void host(uint32_t what, const void *with)
{
    register uint32_t r0 __asm__("r0") = what;
    register const void *r1 __asm__("r1") = with;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

enum { WRITE0 = 0x04, REPORT_EXCEPTION = 0x18, STOPPED = 0x20026, RUN_TIME_ERROR = 0x20023 };

HARNESS static void fault(void)
{
    host(WRITE0, "FAULT\n");
    host(REPORT_EXCEPTION, (const void *)RUN_TIME_ERROR);
    for (;;) {
    }
}

HARNESS void af_print(const int8_t *bytes, int32_t count)
{
    char line[68];
    for (int32_t i = 0; i < count;) {
        char *to = line;
        for (int32_t n = 0; n < 32 && i < count; n++, i++) {
            uint32_t high = (uint8_t)bytes[i] >> 4, low = (uint8_t)bytes[i] & 15;
            *to++ = (char)(high < 10 ? '0' + high : 'a' + high - 10);
            *to++ = (char)(low < 10 ? '0' + low : 'a' + low - 10);
        }
        *to++ = '\n';
        *to = 0;
        host(WRITE0, line);
    }
}

/* Named so that the counter can see where one operator ends and the next begins; it is not counted itself. */
__attribute__((section(".harness"), noinline, used)) void af_mark(void)
{
    __asm__ volatile("" ::: "memory");
}

HARNESS static void all(void)
{
    af_load();
    af_network();
    af_show();
    host(WRITE0, "DONE\n");
    host(REPORT_EXCEPTION, (const void *)STOPPED);
    for (;;) {
    }
}

HARNESS void af_start(void)
{
#ifdef __ARM_FP
    *(volatile uint32_t *)0xe000ed88 |= 0xf << 20;      /* CPACR: the floating-point and vector unit is on */
    __asm__ volatile("dsb\n\tisb" ::: "memory");
#endif
    all();
}
