// SPDX-License-Identifier: MIT
#pragma once

// How a call's reply becomes an outcome.
//
//   outcome_of(reply)             found beside the type of the reply (outcome.hpp)
//   classified_by(classifier, fn) for types that are not yours: an int, a C enum, a library's class
//   every_return_succeeds(fn)     only an exception is a failure
//   ClassifyBy<classifier, ...>   in the balancer's runtime: for all of its calls
//
// A reply without any of these is a success, unless its type looks as if it could report a failure:
// numbers, enums, pointers, what converts to bool, and types with a member such as `status` or
// `ok`. call() refuses to compile with those.

#include <concepts>
#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>

#include <poise/outcome.hpp>

namespace poise::inline v0_1_0 {

/// A function for call(), and how its replies are classified; made by classified_by().
template <class Classifier, class Fn>
struct Classified {
  Classifier classifier;
  Fn fn;

  template <class... Args>
    requires std::invocable<Fn&, Args...>
  decltype(auto) operator()(Args&&... args) {
    return fn(std::forward<Args>(args)...);
  }
};

/// `fn` for call(), with its replies classified by `classifier(reply)`, which returns an Outcome or
/// a Result.
///
///   servers.call(poise::classified_by(poise::outcome_of_http, [](auto& server) { return 200; }));
template <class Classifier, class Fn>
[[nodiscard]] auto classified_by(Classifier classifier, Fn fn) {
  return Classified<Classifier, Fn>{std::move(classifier), std::move(fn)};
}

/// `fn` for call(), where whatever it returns is a success. An exception is still a failure.
template <class Fn>
[[nodiscard]] auto every_return_succeeds(Fn fn) {
  return classified_by([](auto const&) { return Outcome{}; }, std::move(fn));
}

namespace detail {

/// Does this function classify replies of exactly this type? Conversions don't count: a bool is no
/// status.
template <class Reply, class R, class T>
consteval bool is_for(R (*)(T)) {
  return std::same_as<std::remove_cvref_t<T>, Reply>;
}

}  // namespace detail

/// Listed in a Runtime: calls classify their replies by these functions, each by the one whose
/// parameter has the reply's type. They go before the type's own outcome_of; classified_by() in a
/// call goes before them.
///
///   poise::Outcome of_curl(CURLcode code);
///   using Runtime = poise::Runtime<poise::CycleClock,
///                                  poise::ClassifyBy<of_curl, poise::outcome_of_http>>;
template <auto... Classifiers>
struct ClassifyBy {
  static_assert((std::is_function_v<std::remove_pointer_t<decltype(Classifiers)>> && ...),
                "ClassifyBy takes functions, poise::Outcome f(Reply const&), and no lambdas");

  /// How many of the functions are for replies of this type.
  template <class Reply>
  static constexpr std::size_t count = [] {
    if constexpr ((std::is_function_v<std::remove_pointer_t<decltype(Classifiers)>> && ...))
      return (std::size_t{detail::is_for<Reply>(Classifiers)} + ... + 0U);
    else return std::size_t{0};
  }();

  /// By the function for replies of this type.
  template <class Reply>
    requires(count<Reply> != 0)
  [[nodiscard]] static Outcome classify(Reply const& reply) {
    static_assert(count<Reply> == 1, "ClassifyBy has two functions for replies of this type");
    Outcome outcome;
    (classify_by<Classifiers>(reply, outcome), ...);
    return outcome;
  }

 private:
  template <auto Classifier, class Reply>
  static void classify_by(Reply const& reply, Outcome& outcome) {
    if constexpr (detail::is_for<Reply>(Classifier)) {
      static_assert(std::convertible_to<decltype(Classifier(reply)), Outcome>,
                    "a classifier returns a poise::Outcome or a poise::Result");
      outcome = Classifier(reply);
    }
  }
};

namespace detail {

/// Is this observer of a runtime a ClassifyBy?
template <class O>
inline constexpr bool is_classifier = false;
template <auto... Classifiers>
inline constexpr bool is_classifier<ClassifyBy<Classifiers...>> = true;
/// Is it one for such replies?
template <class O, class Reply>
inline constexpr bool classifies = false;
template <auto... Classifiers, class Reply>
inline constexpr bool classifies<ClassifyBy<Classifiers...>, Reply> =
    ClassifyBy<Classifiers...>::template count<Reply> != 0;

template <class T>
inline constexpr bool has_outcome = requires(T const& reply) { outcome_of(reply); };

/// A member that reports failures, as data or as a function.
template <class T>
inline constexpr bool has_verdict_member =
    requires(T& reply) { reply.ok; } || requires(T& reply) { reply.ok(); } ||
    requires(T& reply) { reply.status; } || requires(T& reply) { reply.status(); } ||
    requires(T& reply) { reply.status_code; } || requires(T& reply) { reply.status_code(); } ||
    requires(T& reply) { reply.code; } || requires(T& reply) { reply.code(); } ||
    requires(T& reply) { reply.error; } || requires(T& reply) { reply.error(); } ||
    requires(T& reply) { reply.error_code; } || requires(T& reply) { reply.error_code(); } ||
    requires(T& reply) { reply.failed; } || requires(T& reply) { reply.failed(); } ||
    requires(T& reply) { reply.success; } || requires(T& reply) { reply.success(); };

/// True if a value of this type may well report a failure.
template <class T>
inline constexpr bool may_report_failure =
    has_outcome<T> || std::is_scalar_v<T> || std::is_constructible_v<bool, T const&> ||
    has_verdict_member<T>;
template <class... Parts>
inline constexpr bool may_report_failure<std::tuple<Parts...>> = (may_report_failure<Parts> || ...);
template <class A, class B>
inline constexpr bool may_report_failure<std::pair<A, B>> =
    may_report_failure<A> || may_report_failure<B>;

/// A future or an awaitable: the reply comes later.
template <class T>
inline constexpr bool is_promised = requires(T& reply) { reply.wait(); } || requires(T& reply) {
  reply.await_ready();
} || requires(T reply) { std::move(reply).operator co_await(); };

/// std::expected and its like: a value or an error.
template <class T>
inline constexpr bool is_expected = requires(T const& reply) {
  { reply.has_value() } -> std::convertible_to<bool>;
  reply.error();
};

template <class T>
[[nodiscard]] Outcome classify(T const& reply) {
  if constexpr (has_outcome<T>) {
    static_assert(
        requires {
          { outcome_of(reply) } -> std::convertible_to<Outcome>;
        }, "outcome_of(reply) must return a poise::Outcome or a poise::Result");
    return outcome_of(reply);
  } else if constexpr (is_expected<T>) {
    if (reply.has_value()) return Result::success;
    if constexpr (has_outcome<std::remove_cvref_t<decltype(reply.error())>>)
      return outcome_of(reply.error());
    else return Result::error;
  } else {
    static_assert(!is_promised<T>,
                  "call() got a future or an awaitable, and the request would end before its reply "
                  "comes: return the reply itself, or await poise::asio::call()");
    static_assert(
        is_promised<T> || !may_report_failure<T>,
        "this reply may report a failure, but poise can't tell which values are failures. Either "
        "write `poise::Outcome outcome_of(Reply const&)` in the namespace of the reply's type, or "
        "say call(poise::classified_by(classifier, fn)), where classifier(reply) returns a "
        "poise::Result (poise::outcome_of_http is one), or list a poise::ClassifyBy<classifier> "
        "in the balancer's runtime, or, if every return is a success, "
        "call(poise::every_return_succeeds(fn))");
    return Result::success;
  }
}

/// By the first of these observers that classifies such replies, else by the type's own way.
template <class T>
[[nodiscard]] Outcome classify_for(std::tuple<> const*, T const& reply) {
  return classify(reply);
}
template <class First, class... More, class T>
[[nodiscard]] Outcome classify_for(std::tuple<First, More...> const*, T const& reply) {
  if constexpr (classifies<First, T>) return First::classify(reply);
  else return classify_for(static_cast<std::tuple<More...> const*>(nullptr), reply);
}

/// The outcome of what `fn` returned to a balancer with these observers.
template <class Observers, class Fn, class T>
[[nodiscard]] Outcome classify_reply(Fn const&, T const& reply) {
  return classify_for(static_cast<Observers const*>(nullptr), reply);
}
template <class Observers, class Classifier, class Fn, class T>
[[nodiscard]] Outcome classify_reply(Classified<Classifier, Fn> const& fn, T const& reply) {
  static_assert(
      requires {
        { fn.classifier(reply) } -> std::convertible_to<Outcome>;
      },
      "a classifier takes the reply by const reference or by value, is const, and returns "
      "a poise::Outcome or a poise::Result");
  return fn.classifier(reply);
}

}  // namespace detail

}  // namespace poise::inline v0_1_0
