# SPDX-License-Identifier: BSD-2-Clause
#
# Checks of the source: layout, who includes whom, headers that stand alone, clang-tidy, and that what
# the documents tell the reader to type exists. A stamp per file: only what changed is looked at again.

# Those of tests/proofs are C for CBMC alone: only their layout is looked at.
checked := $(shell find arch boot drivers guest hv include tests -name '*.[ch]' 2>/dev/null)
compiled := $(filter-out tests/proofs/%,$(checked))

# The flags that a file is compiled with.
flavour_of = $(or $(if $(filter tests/system/host/%,$(1)),hv),$(if $(filter boot/% tests/model/shim/% tests/system/%,$(1)),boot),$(if $(filter guest/%,$(1)),guest),$(if $(filter tests/%,$(1)),host),hv)

$(B)/check/%.format: % .clang-format
	$(call begin,FMT,$<)
	$(Q)clang-format$(LLVM) --dry-run -Werror $< 2>$@.err || \
	    { head -n 3 $@.err; echo "to mend: tools/in-root clang-format -i $<"; false; }
	$(Q)touch $@

# Alone: included first, and twice.
$(B)/check/%.h.alone: %.h $(MAKEFILE_LIST)
	$(call begin,ALONE,$<)
	$(Q)$(CLANG) $(FLAGS_$(call flavour_of,$<)) -MMD -MP -MT $@ -MF $@.d -fsyntax-only -x c \
	    -include $< -include $< /dev/null && touch $@

define tidy_rule
$(B)/check/$(1).tidy: $(call objects,$(call flavour_of,$(1)),$(1)) .clang-tidy
	$$(call begin,TIDY,$(1))
	$$(Q)clang-tidy$(LLVM) --quiet $(1) -- $(filter-out -Werror,$(FLAGS_$(call flavour_of,$(1)))) \
	    2>$$@.err || { cat $$@.err; false; }
	$$(Q)touch $$@
endef
$(foreach c,$(filter %.c,$(compiled)),$(eval $(call tidy_rule,$c)))

check-format: $(checked:%=$(B)/check/%.format) # clang-format agrees with every file
check-headers: $(patsubst %,$(B)/check/%.alone,$(filter %.h,$(compiled))) # every header compiles alone
check-tidy: $(patsubst %,$(B)/check/%.tidy,$(filter %.c,$(compiled))) # clang-tidy finds nothing

format: # lay out every file as clang-format decides
	$(Q)clang-format$(LLVM) -i $(checked)

check-includes: # the include rule holds, without cycles; first that the check itself finds violations
	$(Q)tools/check-includes --self-test
	$(Q)tools/check-includes

check-docs: # what README.md and docs/ tell the reader to type exists
	$(Q)tools/check-docs $(shell sed -n 's/^\([a-z-]*\):.*/\1/p' Makefile mk/*.mk)

check-spdx: # every source file names its licence in the first two lines
	$(Q)for f in $(checked) $(hv_src) $(wildcard tools/* mk/* */*.ld tests/*/*.py); do \
	    [ ! -f $$f ] || head -n 2 $$f | grep -q SPDX-License-Identifier || { echo "$$f: no SPDX line"; bad=1; }; \
	done; [ -z "$$bad" ]

# The C library of hypervisor and guests formats with lengths h and l only; others print nonsense.
foreign_lengths := %[-+ \#0-9.*]*(ll|hh|z|j|t|L)[diouxX]
check-formats: # no printf length that the small C library does not know, in what runs on it
	$(Q)echo '"%5lld"' | grep -qE '$(foreign_lengths)' && echo '"%lx 5% large"' | grep -vqE '$(foreign_lengths)'
	$(Q)! grep -nE '$(foreign_lengths)' $(filter arch/% drivers/% guest/% hv/%,$(checked))

foreign_names := [Hh][Cc]_[A-Za-z_]*(VTD|SVM|VMX|INTEL|AMD|DMAR|SMMU)
check-names: # no name of the guest ABI is one vendor's
	$(Q)! grep -niE '$(foreign_names)' $(filter include/%,$(checked))

check-image: $(B)/sluice.elf # the hypervisor uses no vector or x87 register and no untracked branch; no page of it is writable and executable
	$(Q)! llvm-objdump$(LLVM) -d --no-show-raw-insn $< | grep -E '%([xyz]?mm[0-9]|st\b)|notrack'
	$(Q)! llvm-readelf$(LLVM) -lW $< | grep -E '\<(LOAD .* RWE|INTERP|DYNAMIC)\>'

check: check-format check-formats check-names check-spdx check-includes check-headers check-docs check-image check-tidy # all checks of the source

.PHONY: check format check-formats check-names check-spdx check-image check-format check-headers check-tidy check-includes check-docs
