# SPDX-License-Identifier: BSD-2-Clause
#
# Tests and measurements.
#
# Unit tests are cmocka programs, tests/unit/test_*.c and tests/model/test_*.c, one source each. They
# are linked with an archive of the model, those in tests/unit/ also with one of everything portable,
# so that each takes what it uses. The model stands alone. Further sources that a test needs are
# listed in a line of their own in it:  /* build: boot/config.c arch/x86/msr.c */
# A file in tests/platform/ takes the place of one with its name in hv/.

not_tests = $(foreach f,$(1),$(if $(filter test_%,$(notdir $f)),,$f))
model_src := $(call not_tests,$(wildcard tests/model/*.c))
platform_src := $(wildcard tests/platform/*.c)
core_src  := $(filter-out $(platform_src:tests/platform/%=hv/%),$(wildcard hv/*.c)) $(platform_src) \
    $(wildcard drivers/iommu/*.c drivers/iommu/*/*.c) $(call not_tests,$(wildcard tests/unit/*.c))
unit_src := $(wildcard tests/unit/test_*.c tests/model/test_*.c)
unit     := $(unit_src:%.c=$(B)/%)
server_src := $(wildcard tests/model/server/*.c)

define archive_rule
$(B)/obj/$(1).a: $(call objects,host,$(2))
	$$(call begin,AR,$$@)
	$$(Q)rm -f $$@ && llvm-ar$(LLVM) rcsPD $$@ $$^
endef
$(eval $(call archive_rule,core,$(core_src)))
$(eval $(call archive_rule,model,$(model_src)))

extra_src = $(shell sed -n 's,^/\* build: \(.*\) \*/$$,\1,p' $(1))
archives   = $(if $(filter tests/unit/%,$(1)),$(B)/obj/core.a) $(B)/obj/model.a
define unit_rule
$(B)/$(1:.c=): $(call objects,host,$(1) $(call extra_src,$(1))) $(call archives,$(1))
	$$(call begin,LINK,$$@)
	$$(Q)$(CLANG) $(FLAGS_host) -fuse-ld=lld -o $$@ $$^ -lcmocka
endef
$(foreach t,$(unit_src),$(eval $(call unit_rule,$t)))

$(B)/tests/device-server: $(call objects,host,$(server_src)) $(B)/obj/model.a
	$(call begin,LINK,$@)
	$(Q)$(CLANG) $(FLAGS_host) -fuse-ld=lld -o $@ $^

# The hypervisor with a main of its own, which tests the host side from inside.
host_test := $(B)/tests/host-test.elf
$(host_test): $(call objects,hv,$(filter-out hv/main.c,$(hv_src)) $(wildcard tests/system/host/*.c)) \
    linker.ld $(NEWLIB)/lib/libc.a
	$(call begin,LINK,$@)
	$(Q)ld.lld$(LLVM) $(LDHV) --strip-all -T linker.ld -o $@ $(filter %.o %.a,$^)

# hv/pt.c in time, on this machine: as in the hypervisor, but for what a program on Linux must have.
FLAGS_speed := $(COMMON) -D_GNU_SOURCE= -O2 -fno-pic -fno-omit-frame-pointer -fno-common -mno-sse -mno-mmx \
    -mno-80387 -msoft-float -ffunction-sections -fdata-sections
$(eval $(call flavour_rules,speed,$(if $(LTO),-flto)))
speed_test := $(B)/tests/bench/bench_pt
$(speed_test): $(call objects,speed,tests/bench/bench_pt.c hv/pt.c arch/x86/mmio.c)
	$(call begin,LINK,$@)
	$(Q)$(CLANG) -O2 -no-pie -fuse-ld=lld -o $@ $^

tests-built: $(unit) # build the unit tests without running them
system-built: $(B)/tests/unit/test_vtd_units $(B)/sluice.img $(B)/tests/device-server $(B)/tests/shim.efi $(efi_tests) $(host_test) # build what the system tests need

# Both print "N passed, N failed" last.
system := python3 tests/system/run.py --build $(B)

run: system-built # boot the demonstration in QEMU (MACHINE=bochs: guests on VMX, in Bochs); it ends by itself, exit status 0 if all checks held
	$(Q)$(system) $(if $(MACHINE),--machine $(MACHINE)) run

test: tests-built fuzz-built system-built # all tests; the last line is "N passed, N failed"
	$(Q)tools/test-summary --system '$(fuzzing)' --system '$(proving) --quick' --system '$(system) test $(TESTS)' $(unit)

test-unit: tests-built fuzz-built # unit tests, the model's own, two seconds of each fuzz target, under sanitizers
	$(Q)tools/test-summary --system '$(fuzzing)' $(unit)

test-model: $(filter $(B)/tests/model/%,$(unit)) # the tests of the VT-d and accelerator models
	$(Q)tools/test-summary $^

test-system: system-built # boot tests in QEMU; TESTS=... only those whose name contains a word of it
	$(Q)tools/test-summary --system '$(system) test $(TESTS)'

test-vmx: system-built # the same image and guests on Intel's VMX, in Bochs
	$(Q)tools/test-summary --system '$(system) test test_vmx'

test-units: system-built # every kind of VT-d unit, the model's and QEMU's; keeps docs/units.md
	$(Q)tools/test-summary --system '$(system) test TestUnits' $(B)/tests/unit/test_vtd_units

bench: system-built $(speed_test) # measure in QEMU by counting instructions; writes build/bench.txt
	$(Q)$(system) bench

.PHONY: run test test-unit test-model test-system test-units test-vmx bench tests-built system-built
