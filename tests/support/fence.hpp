// SPDX-License-Identifier: MIT
#pragma once

namespace poise::test {

/// Requires the fence that POISE_TEST_FENCE names (asymmetric | seq_cst), before the first Balancer
/// makes its own choice, so that race tests cover both; unset, the choice stays with poise.
/// False, with a message on stderr, if it cannot be had.
bool fence_is_as_asked();

}  // namespace poise::test
