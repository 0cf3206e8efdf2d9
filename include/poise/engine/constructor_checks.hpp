// SPDX-License-Identifier: MIT
#pragma once

// What is wrong with the arguments of a Balancer's constructor, as sentences for the compiler.

#include <concepts>
#include <cstddef>
#include <iterator>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <poise/backend.hpp>
#include <poise/endpoint.hpp>
#include <poise/policy.hpp>

namespace poise::inline v0_1_0::detail {

/// True if a payload needs no factory, or there is none.
template <class Payload>
inline constexpr bool makes_payload =
    std::is_void_v<Payload> || std::is_constructible_v<Payload, Endpoint const&>;

/// The parameters of a Balancer's constructors; never defined.
template <class P, class Payload, class R>
struct BalancerArguments {
  static void take(std::vector<Endpoint>)
    requires(makes_payload<Payload>);
  static void take(std::vector<Endpoint>, P)
    requires(makes_payload<Payload>);
  static void take(std::vector<Endpoint>, P, R)
    requires(makes_payload<Payload>);
  static void take(std::vector<Endpoint>, Factory<Payload>)
    requires(!std::is_void_v<Payload>);
  static void take(std::vector<Endpoint>, Factory<Payload>, P)
    requires(!std::is_void_v<Payload>);
  static void take(std::vector<Endpoint>, Factory<Payload>, P, R)
    requires(!std::is_void_v<Payload>);
};
template <class P, class Payload, class R, class... Arguments>
inline constexpr bool fits = requires(Arguments&&... arguments) {
  BalancerArguments<P, Payload, R>::take(std::forward<Arguments>(arguments)...);
};

template <class T>
inline constexpr bool is_addresses = std::convertible_to<T, std::string_view> || requires(T& all) {
  { *std::begin(all) } -> std::convertible_to<std::string_view>;
};

struct Missing {};

/// Compiles for no list of arguments: the first sentence that fits is the error.
template <class P, class Payload, class R, class First, class... More>
consteval bool explain_arguments() {
  using Second = std::tuple_element_t<0, std::tuple<More..., Missing>>;
  constexpr bool endpoints = std::convertible_to<First, std::vector<Endpoint>>;
  static_assert(endpoints || !is_addresses<std::remove_cvref_t<First>>,
                "a Balancer takes endpoints: write poise::endpoints(addresses)");
  static_assert(endpoints || is_addresses<std::remove_cvref_t<First>>,
                "a Balancer's first argument is a std::vector<poise::Endpoint>; "
                "poise::endpoints({\"a:80\", \"b:80\"}) makes one of addresses");
  constexpr bool makes = requires(Second& make, Endpoint const& endpoint) { make(endpoint); };
  constexpr bool policy_first = std::convertible_to<Second, P>;
  if constexpr (!endpoints) {
  } else if constexpr (std::is_void_v<Payload> && makes) {
    static_assert(!makes, "a factory needs a payload's type: Balancer<Policy, Payload>");
  } else if constexpr (!std::is_void_v<Payload> && !makes &&
                       !std::is_constructible_v<Payload, Endpoint const&>) {
    static_assert(
        makes,
        "this payload can't be made from an Endpoint, so the second argument is a factory: "
        "[](poise::Endpoint const& endpoint) { return Payload{...}; }");
  } else if constexpr (std::convertible_to<Second, R>) {
    static_assert(!std::convertible_to<Second, R>,
                  "the runtime comes after the policy: Balancer{endpoints, {}, runtime}");
  } else if constexpr (makes && !std::is_void_v<Payload>) {
    static_assert(
        !makes,
        "this factory does not return the balancer's payload, or what comes after it is "
        "not the policy, then the runtime: Balancer{endpoints, factory, policy, runtime}");
  } else {
    static_assert(policy_first,
                  "this is not the policy that the balancer's type names: name it there, as in "
                  "Balancer<P2C>, or wrap it for a Balancer<AnyPolicy>: AnyPolicy{policy}");
    static_assert(!policy_first,
                  "the third argument is not the runtime that the balancer's type names: "
                  "Balancer<Policy, Payload, Runtime>{endpoints, policy, runtime}");
  }
  return true;
}

template <class Observer, class Observers>
consteval bool has_observer() {
  constexpr auto count = []<class... All>(std::tuple<All...> const*) {
    return (std::size_t{std::same_as<All, Observer>} + ... + 0U);
  }(static_cast<Observers*>(nullptr));
  static_assert(
      count != 0,
      "the runtime of this balancer has no such observer: observer<X>() gives one of those "
      "that Runtime<Clock, X, ...> lists, by its exact type");
  static_assert(count < 2, "the runtime lists this observer twice; observer<X>() can't tell which");
  return true;
}

}  // namespace poise::inline v0_1_0::detail
