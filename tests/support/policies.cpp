#include "support/policies.hpp"

#include <string_view>

#include <poise/compose/named.hpp>

poise::AnyPolicy tests::policy(std::string_view text) { return poise::policy_named(text); }
