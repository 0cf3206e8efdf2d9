// SPDX-License-Identifier: MIT
#pragma once

// Limits the requests per second: of each backend, of each key, or both.
//
//   poise::Balancer<poise::RateLimited<poise::P2C>> servers{
//       endpoints, {{.backend = {.per_second = 100, .burst = 20}, .key = {.per_second = 5}}}};
//
// Use the limit per backend for servers with a quota (a paid interface, a database that is billed
// by request). Backends without a token are skipped; if none has one the pick fails. Use the limit
// per key (the route key, else the client) against clients that ask too often: their picks fail.
// Error::retry_after says when to come back. To limit requests in flight use
// Endpoint::max_in_flight or health::AdaptiveLimit: they notice a slow backend, a rate does not.
//
// The rule holds for every interval of t seconds and any number of threads (sync/token_bucket.hpp):
//
//   requests in it <= burst + per_second * t
//
// Every attempt takes a token of its backend, retries and hedges included. Only a first attempt
// takes one of its key; requests without a key need none. Keys share a table of fixed size: two
// keys in one place share one rate, so with n active keys a key is limited too early with a
// probability of about n / places. Copies of a policy share their keys; set_policy() begins with
// full buckets.
//
// pick_for() waits for the next token. Put RateLimited outside of other wrappers that refuse
// requests, so that no token is spent on what is then refused.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <poise/base/check.hpp>
#include <poise/candidates.hpp>
#include <poise/compose/wrapper.hpp>
#include <poise/hash/local.hpp>
#include <poise/policy.hpp>
#include <poise/sync/token_bucket.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0 {

/// A rate of requests.
struct Rate {
  double per_second = 0;    ///< 0: no limit; else 0.001 to 1000000.
  std::uint32_t burst = 1;  ///< How many may come at once after a pause; 1 to 1000000.
};

/// What RateLimited allows.
struct RateLimitOptions {
  Rate backend{};                 ///< Of each backend.
  Rate key{};                     ///< Of each key.
  std::uint32_t places = 65'536;  ///< Of the table of keys, 8 bytes each; a power of two.
};

namespace detail {

/// *Errors* ConfigError.
inline sync::TokenRate token_rate(std::string const& whose, Rate rate) {
  if (rate.per_second == 0) return {};
  auto const option = "per_second of RateLimited's " + whose;
  check_at_least(option, rate.per_second, 0.001, "use 0 (no limit) or 0.001 to 1000000");
  if (rate.per_second > 1e6)
    reject_option(option, in_words(rate.per_second), "use 0 (no limit) or 0.001 to 1000000");
  if (rate.burst == 0 || rate.burst > 1'000'000)
    reject_option("burst of RateLimited's " + whose, in_words(rate.burst), "use 1 to 1000000");
  return {static_cast<std::int64_t>(std::ceil(1e9 / rate.per_second)), rate.burst};
}

/// The buckets of all backends that some plan still knows: a backend keeps its own when plans
/// change. Used off the hot path. *Threads* any.
class BackendBuckets {
 public:
  struct alignas(64) Bucket : sync::TokenBucket {};  // a cache line of its own

  [[nodiscard]] std::shared_ptr<Bucket> of(Backend const& backend) {
    std::lock_guard const lock{mutex_};
    auto& known = buckets_[&backend];
    auto bucket = known.lock();
    if (!bucket) known = bucket = std::make_shared<Bucket>();
    return bucket;
  }
  void forget_removed() {
    std::lock_guard const lock{mutex_};
    std::erase_if(buckets_, [](auto const& each) { return each.second.expired(); });
  }

 private:
  std::mutex mutex_;
  std::unordered_map<Backend const*, std::weak_ptr<Bucket>> buckets_;
};

}  // namespace detail

/// *Errors* ConfigError: a rate or burst out of its range, no power of two places, no limit at all.
/// *Cost* a clock read per pick and one compare-exchange per limit, that of a backend on a line
/// that all threads share. The plan adds 16 bytes a backend. A pick that a key's rate refuses asks
/// every backend.
template <class P>
class RateLimited : public detail::Around<P> {
 public:
  struct Plan {
    hooks::PlanOf<P> inner{};
    /// By entry: members that are not eligible keep theirs, too.
    std::vector<std::shared_ptr<detail::BackendBuckets::Bucket>> buckets{};
  };

  // NOLINTNEXTLINE(*-explicit-*): a default argument of Balancer
  RateLimited(RateLimitOptions options, P inner = detail::default_policy<P>())
      : detail::Around<P>{std::move(inner)},
        backend_rate_{detail::token_rate("backend", options.backend)},
        key_rate_{detail::token_rate("key", options.key)} {
    if (backend_rate_.interval == 0 && key_rate_.interval == 0)
      throw ConfigError{
          "RateLimited has no limit: set backend or key, {.backend = {.per_second = 100}}"};
    if (!std::has_single_bit(options.places))
      detail::reject_option("places of RateLimited", detail::in_words(options.places),
                            "use a power of two, 65536 say");
    if (key_rate_.interval != 0)
      keys_ = std::make_shared<std::vector<sync::TokenBucket>>(options.places);
  }

  [[nodiscard]] std::string name() const {
    return "rate_limited(" + hooks::name(this->inner()) + ")";
  }
  [[nodiscard]] hooks::TraitsOfType<hooks::UsesTime::always, false> traits() const {
    auto traits = this->joint_traits();
    traits.uses_time = true;
    traits.may_refuse = true;
    return {traits};
  }

  [[nodiscard]] Plan plan(Candidates const& candidates, Plan const* before) const {
    Plan plan{hooks::plan(this->inner(), candidates, before != nullptr ? &before->inner : nullptr),
              {}};
    if (backend_rate_.interval == 0) return plan;
    backends_->forget_removed();
    for (auto const& entry : candidates.roster().entries)
      plan.buckets.push_back(backends_->of(*entry.backend));
    return plan;
  }
  [[gnu::always_inline]] std::size_t pick(Plan const& plan, Candidates const& candidates,
                                          Context& context) const {
    return hooks::pick(this->inner(), plan.inner, candidates, context);
  }

  [[nodiscard]] bool admit(Plan const& plan, Candidates const& candidates, std::size_t i,
                           std::uint32_t in_flight, Context& context) const {
    auto const now = context.now.time_since_epoch().count();
    // A rehearsal takes no token.
    auto const take = [&](sync::TokenBucket& bucket, sync::TokenRate rate) {
      return context.rehearsal() == nullptr ? bucket.take(now, rate) : bucket.wait(now, rate);
    };
    auto* const key = bucket_of_key(context.request);
    if (key != nullptr && !has_come(key->wait(now, key_rate_), context)) return false;
    if (!hooks::admit(this->inner(), plan.inner, candidates, i, in_flight, context)) return false;
    auto* const own = plan.buckets.empty() ? nullptr : plan.buckets[i].get();
    if (own != nullptr && !has_come(take(*own, backend_rate_), context)) return false;
    if (key == nullptr || has_come(take(*key, key_rate_), context)) return true;
    if (own != nullptr && context.rehearsal() == nullptr) own->give_back(backend_rate_);
    return false;
  }

 private:
  static bool has_come(std::int64_t wait, Context& context) noexcept {
    if (wait != 0) context.suggest_retry(Duration{wait});
    return wait == 0;
  }
  [[nodiscard]] sync::TokenBucket* bucket_of_key(Request const& request) const noexcept {
    auto const key = request.route_key.empty() ? request.client_id : request.route_key;
    if (!keys_ || key.empty() || request.attempt > 1) return nullptr;
    return &(*keys_)[detail::hash_text(key) % keys_->size()];
  }

  sync::TokenRate backend_rate_;
  sync::TokenRate key_rate_;
  std::shared_ptr<detail::BackendBuckets> backends_ = std::make_shared<detail::BackendBuckets>();
  std::shared_ptr<std::vector<sync::TokenBucket>> keys_{};
};

}  // namespace poise::inline v0_1_0
