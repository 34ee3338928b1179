# SPDX-License-Identifier: BSD-2-Clause
#
# Tests and measurements.
#
# Unit tests are cmocka programs, tests/unit/test_*.c and tests/model/test_*.c, one source each. They
# are linked with an archive of everything portable, so that each takes what it uses. Further sources
# that a test needs are listed in a line of their own in it:  /* build: boot/config.c arch/x86/msr.c */
# A file in tests/platform/ takes the place of one with its name in hv/.

host_src := $(filter-out $(patsubst tests/platform/%,hv/%,$(wildcard tests/platform/*.c)),$(wildcard hv/*.c)) \
    $(wildcard drivers/iommu/*.c drivers/iommu/*/*.c) \
    $(filter-out $(wildcard tests/*/test_*.c),$(wildcard tests/unit/*.c tests/platform/*.c tests/model/*.c))
unit_src := $(wildcard tests/unit/test_*.c tests/model/test_*.c)
unit     := $(unit_src:%.c=$(B)/%)
server_src := $(wildcard tests/model/server/*.c)
server     := $(if $(server_src),$(B)/tests/device-server)

$(B)/obj/host.a: $(call objects,host,$(host_src))
	$(call begin,AR,$@)
	$(Q)rm -f $@ && llvm-ar$(LLVM) rcsPD $@ $^

define unit_rule
$(B)/$(1:.c=): $(call objects,host,$(1) $(shell sed -n 's,^/\* build: \(.*\) \*/$$,\1,p' $(1))) $(B)/obj/host.a
	$$(call begin,LINK,$$@)
	$$(Q)$(CLANG) $(FLAGS_host) -fuse-ld=lld -o $$@ $$^ -lcmocka
endef
$(foreach t,$(unit_src),$(eval $(call unit_rule,$t)))

$(B)/tests/device-server: $(call objects,host,$(server_src)) $(B)/obj/host.a
	$(call begin,LINK,$@)
	$(Q)$(CLANG) $(FLAGS_host) -fuse-ld=lld -o $@ $^

tests-built: $(unit) # build the unit tests without running them
system-built: $(B)/sluice.img $(server) $(shim) $(efi_tests) # build what the system tests need

# Both print "N passed, N failed" last.
system := tests/system/run.py --build $(B)

run: system-built # boot the demonstration in QEMU; it ends by itself, exit status 0 if all checks held
	$(Q)python3 $(system) run

test: tests-built system-built # all tests; the last line is "N passed, N failed"
	$(Q)tools/test-summary --system '$(system) test' $(unit)

test-unit: tests-built # unit tests and the model's own tests, under sanitizers
	$(Q)tools/test-summary $(unit)

test-model: $(filter $(B)/tests/model/%,$(unit)) # the tests of the VT-d and accelerator models
	$(Q)tools/test-summary $^

test-system: system-built # boot tests in QEMU
	$(Q)tools/test-summary --system '$(system) test'

bench: system-built # measure in QEMU by counting instructions; writes build/bench.txt
	$(Q)python3 $(system) bench

.PHONY: run test test-unit test-model test-system bench tests-built system-built
