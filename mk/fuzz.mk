# SPDX-License-Identifier: BSD-2-Clause
#
# Fuzzing: every tests/fuzz/fuzz_NAME.c is a program with libFuzzer. What ships is compiled once more
# (flavour "fuzz"), with coverage; test beds and models are those of the unit tests.

SECONDS := 30

FLAGS_fuzz := $(FLAGS_host) -fsanitize=fuzzer-no-link
$(eval $(call flavour_rules,fuzz))

fuzz_src   := $(wildcard tests/fuzz/fuzz_*.c)
fuzz_built := $(fuzz_src:tests/fuzz/%.c=$(B)/tests/fuzz/%)
shipping    = $(filter-out tests/%,$(1))
fuzz_flavours = $(call objects,fuzz,$(call shipping,$(1))) $(call objects,host,$(filter tests/%,$(1)))

$(B)/obj/fuzz.a: $(call fuzz_flavours,$(filter-out tests/unit/%,$(core_src)))
	$(call begin,AR,$@)
	$(Q)rm -f $@ && llvm-ar$(LLVM) rcsPD $@ $^

define fuzz_rule
$(B)/tests/fuzz/$(notdir $(1:.c=)): $(call objects,fuzz,$(1)) $(call objects,host,tests/fuzz/fuzz.c) \
    $(call fuzz_flavours,$(call extra_src,$(1))) $(B)/obj/fuzz.a $(B)/obj/model.a
	$$(call begin,LINK,$$@)
	$$(Q)$(CLANG) $(FLAGS_host) -fsanitize=fuzzer -fuse-ld=lld -o $$@ $$^ -lcmocka
endef
$(foreach t,$(fuzz_src),$(eval $(call fuzz_rule,$t)))

fuzz-built: $(fuzz_built)

# Prints "N passed, N failed" last.
fuzzing := tests/fuzz/run --build $(B)

fuzz: fuzz-built # fuzz every target, SECONDS=n in all (30); what is new is kept in build/fuzz/
	$(Q)$(fuzzing) --seconds $(SECONDS) --keep

.PHONY: fuzz fuzz-built
