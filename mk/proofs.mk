# SPDX-License-Identifier: BSD-2-Clause
#
# Proofs by CBMC: tests/proofs/. docs/proofs.md tells what they say.

proving := tests/proofs/prove --build $(B)

proofs: # prove tests/proofs/*.c with CBMC; WORDS=... only those whose name contains a word of it
	$(Q)$(proving) $(WORDS)

proofs-broken: # check the proofs: each has to fail with the source changed as its "broken:" lines say
	$(Q)$(proving) --broken $(WORDS)

.PHONY: proofs proofs-broken
