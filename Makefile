# SPDX-License-Identifier: BSD-2-Clause
#
# Sluice's build. Sources are found by wildcard: a new file needs no edit here. Everything runs in the
# pinned toolchain root (tools/in-root), which the first use makes. Variables:
#   V=1         show the commands
#   B=DIR       build somewhere else than build/ (below the project root)
#   LTO=        link without link-time optimisation
#   NATIVE=1    use this machine's own tools; LLVM=-19 is a suffix of their names, NEWLIB=DIR holds
#               lib/libc.a and include/ (tools/toolchain/make-newlib makes one)

.DEFAULT_GOAL := all
MAKEFLAGS += --no-builtin-rules --no-print-directory
B := build

help: # list the targets
	@sed -n 's/^\([a-z-]*\):.*# \(.*\)/  make \1|\2/p' Makefile mk/*.mk | \
	    while IFS='|' read -r t d; do printf '%-20s %s\n' "$$t" "$$d"; done

clean: # remove what was built (the toolchain root stays)
	rm -rf $(B)

.PHONY: help clean

# What has to be built, which is nothing for "make help clean".
goals := $(filter-out help clean,$(or $(MAKECMDGOALS),all))

ifeq ($(NATIVE)$(wildcard /etc/sluice-root),)

# Outside the root: one make inside it does all goals.
ifneq ($(goals),)
.PHONY: $(goals) in-root
$(goals): in-root
	@:
in-root:
	+@tools/in-root make $(goals)
endif

else ifneq ($(goals),)

ifneq ($(NATIVE),)
NEWLIB := $(or $(NEWLIB),/opt/newlib)
native := $(shell LLVM=$(LLVM) NEWLIB=$(NEWLIB) tools/toolchain/native-check >&2 || echo bad)
$(if $(native),$(error this machine's tools do not suffice, see above))
endif

include mk/build.mk mk/tests.mk mk/fuzz.mk mk/proofs.mk mk/check.mk
-include $(shell [ ! -d $(B) ] || find $(B)/obj $(B)/check -name "*.d" 2>/dev/null)

endif
