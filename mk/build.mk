# SPDX-License-Identifier: BSD-2-Clause
#
# The loader, the hypervisor, the guests and the disk image.
#
# Objects lie in $(B)/obj/<flavour>/<path of the source>.o; a flavour is a set of flags:
#   hv      the hypervisor                  boot    UEFI applications
#   guest   bare-metal guests               host    Linux userland with sanitizers, for the tests

NEWLIB ?= /opt/newlib
CLANG  := clang$(LLVM)
LTO    := 1

Q   := $(if $(V),,@)
say  = @$(if $(V),:,printf '  %-5s %s\n' $(1) $(2))
# Recipe prefix: announce and make the directory.
begin = $(call say,$(1),$(2)) && mkdir -p $(@D)

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wvla \
    -Wpointer-arith -Wimplicit-fallthrough -Wno-missing-field-initializers
COMMON := -std=c23 -g -I. -Iinclude $(WARN)

# Integer code only: neither the hypervisor nor a guest saves vector or x87 registers. The compiler's own
# headers come before newlib's, which has a <stdatomic.h> for other compilers.
BARE := --target=x86_64-unknown-elf -O2 -ffreestanding -fno-pic -mno-red-zone -mno-sse -mno-mmx \
    -mno-80387 -msoft-float -fno-stack-protector -fno-omit-frame-pointer -fno-common \
    -fno-asynchronous-unwind-tables -ffunction-sections -fdata-sections \
    -nostdlibinc -idirafter $(NEWLIB)/include

# Indirect branches end at ENDBR64, where the CPU tracks them (arch/x86/cpu.c); all do, so no jump tables.
FLAGS_hv    := $(COMMON) $(BARE) -mcmodel=kernel -fcf-protection=branch -fno-jump-tables
# The hypervisor is small before it is fast, but for what every exit, command, invalidation, fault and
# page request passes through: tests/system/bench.py counts its instructions.
hot := $(patsubst %,hv/%.c,attach bond domain guest_memory hypercall idmap interval invalidate \
    ioas_map ioas_table iopf iopf_calls iopf_drop iopf_group iova lock pages pt rings slab) \
    $(patsubst %,arch/x86/%.c,exit guest_state mmio vcpu svm/svm svm/exits svm/event vmx/exits vmx/event vmx/step) \
    $(patsubst %,drivers/iommu/vtd/%.c,batch domain inval pasid prq queue)
FLAGS_guest := $(COMMON) $(BARE) -mcmodel=small
FLAGS_boot  := $(COMMON) --target=x86_64-unknown-windows -O2 -ffreestanding -fshort-wchar \
    -mno-red-zone -mno-stack-arg-probe -fno-stack-protector -nostdlibinc \
    -isystem /usr/include/efi -isystem /usr/include/efi/x86_64
FLAGS_host  := $(COMMON) -D_GNU_SOURCE= -O1 -fno-omit-frame-pointer -fsanitize=address,undefined \
    -fno-sanitize-recover=all -pthread

LDBARE := -nostdlib --fatal-warnings --gc-sections --build-id=none -z max-page-size=4096

# $(call objects,flavour,sources)
objects = $(patsubst %,$(B)/obj/$(1)/%.o,$(2))

define flavour_rules
$(B)/obj/$(1)/%.c.o: %.c $(MAKEFILE_LIST)
	$$(call begin,CC,$$<)
	$$(Q)$(CLANG) $$(FLAGS_$(1)) $(2) -MMD -MP -c -o $$@ $$<
$(B)/obj/$(1)/%.S.o: %.S $(MAKEFILE_LIST)
	$$(call begin,AS,$$<)
	$$(Q)$(CLANG) $$(filter-out -std=%,$$(FLAGS_$(1))) -MMD -MP -c -o $$@ $$<
endef
$(eval $(call flavour_rules,hv,$(if $(LTO),-flto) $$(if $$(filter $$<,$$(hot)),,-Oz)))
$(eval $(call flavour_rules,guest))
$(eval $(call flavour_rules,boot))
$(eval $(call flavour_rules,host))

# ---- UEFI applications

boot_src := $(wildcard boot/*.c boot/*.S)
shim_src := $(wildcard tests/model/shim/*.c)
# Applications of the system tests: tests/system/efi-NAME/ becomes NAME.efi.
efi_test_names := $(patsubst tests/system/efi-%/,%,$(wildcard tests/system/efi-*/))
efi_tests      := $(efi_test_names:%=$(B)/tests/%.efi)

define efi_rule
$(1): $(call objects,boot,$(2))
	$$(call begin,LINK,$$@)
	$$(Q)lld-link$(LLVM) -subsystem:efi_application -entry:efi_main -nodefaultlib -Brepro -opt:ref \
	    -out:$$@ $$^
endef
$(eval $(call efi_rule,$(B)/BOOTX64.EFI,$(boot_src)))
$(eval $(call efi_rule,$(B)/tests/shim.efi,$(shim_src)))
$(foreach n,$(efi_test_names),$(eval $(call efi_rule,$(B)/tests/$n.efi,$(wildcard tests/system/efi-$n/*.c))))

# ---- hypervisor

hv_src := $(wildcard hv/*.c arch/x86/*.[cS] arch/x86/*/*.[cS] drivers/iommu/*.c drivers/iommu/*/*.c)

# Segments start on pages where they run (linker.ld), but not in the file: the loader copies them.
LDHV := $(subst page-size=4096,page-size=64 -z common-page-size=64,$(LDBARE))
$(B)/sluice.elf: $(call objects,hv,$(hv_src)) linker.ld $(NEWLIB)/lib/libc.a
	$(call begin,LINK,$@)
	$(Q)ld.lld$(LLVM) $(LDHV) -T linker.ld -o $@ $(filter %.o %.a,$^)

# What is started: without symbols.
$(B)/sluice.stripped.elf: $(B)/sluice.elf
	$(Q)llvm-objcopy$(LLVM) --strip-all $< $@
	$(Q)llvm-size$(LLVM) $@ | awk 'NR == 2 { printf "  SIZE  text+rodata %d, data %d, bss %d, all %d bytes\n", $$1, $$2, $$3, $$4 }'

# ---- guests: every directory in guest/ but lib/

guests := $(foreach d,$(filter-out guest/lib/,$(wildcard guest/*/)),$(if $(wildcard $d*.c),$(patsubst guest/%/,%,$d)))
guest_lib := $(call objects,guest,$(wildcard guest/lib/*.[cS]))
guest_elf := $(guests:%=$(B)/guests/%.elf)

define guest_rule
$(B)/guests/$(1).elf: $(call objects,guest,$(wildcard guest/$(1)/*.[cS])) $(guest_lib) guest/guest.ld
	$$(call begin,LINK,$$@)
	$$(Q)ld.lld$(LLVM) $(LDBARE) -T guest/guest.ld -o $$@ $$(filter %.o,$$^) $(NEWLIB)/lib/libc.a
endef
$(foreach g,$(guests),$(eval $(call guest_rule,$g)))

# ---- the disk image

$(B)/sluice.img: $(B)/BOOTX64.EFI $(B)/sluice.stripped.elf $(guest_elf) guest/sluice.cfg tools/mkimage
	$(call begin,IMAGE,$@)
	$(Q)tools/mkimage $@ --cfg guest/sluice.cfg --add $(B)/BOOTX64.EFI=EFI/BOOT/BOOTX64.EFI \
	    --add $(B)/sluice.stripped.elf=sluice/sluice.elf \
	    $(foreach g,$(guest_elf),--add $g=sluice/$(notdir $g))

all: image # everything that boots (the default)

image: $(B)/sluice.img # the disk image, build/sluice.img: write it to a USB stick or boot it in QEMU

.PHONY: all image
