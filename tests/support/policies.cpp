#include "support/policies.hpp"

#include <string_view>

#include <poise/compose/named.hpp>

// Also for what includes compose/policy_named.hpp.
template struct poise::detail::PolicyCatalogue<poise::AnyPolicy>;

poise::AnyPolicy tests::policy(std::string_view text) { return poise::policy_named(text); }
