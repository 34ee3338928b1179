/* SPDX-License-Identifier: BSD-2-Clause */
/* Between libFuzzer and the targets. */
#include "tests/fuzz/fuzz.h"

#include "tests/platform/platform.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    setenv("CMOCKA_TEST_ABORT", "1", 1); /* a failed assertion of a test bed aborts */
    return platform_setup(NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    platform_fresh(NULL);
    fuzz_one(data, size);
    must(platform_check(NULL) == 0);
    return 0;
}
