// SPDX-License-Identifier: MIT
#pragma once

// Latencies as counts in log-linear buckets: fixed size, many writers, exact counts.
//
// Every octave from 2 us to 137 s has the same 36 buckets. Their bounds are whole numbers of
// nanoseconds, and each is at most 2 % wide: a value that is known only by its bucket is known to
// 1 % (Scale::bound). Shorter and longer values count in the first and the last bucket.
//
// The counts only rise, modulo 2^32. A reader gets a window by subtracting two readings; writers
// know nothing of windows. There is no sum: a sum that threads share costs more than all buckets,
// and BucketCounts derives it from them.
//
//   H1  count n of a bucket is the number of add()s into it, modulo 2^32.
//   H2  The bit of an octave is set after its first count: a reader that finds it unset may miss
//       counts of that moment, and finds them at the next reading.

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <poise/sync/relaxed.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::observe {

/// Which bucket a latency counts in, and the bounds of buckets.
class Scale {
 public:
  static constexpr unsigned first_octave = 11;  ///< Begins at 2^11 ns, 2.05 us.
  static constexpr unsigned octaves = 26;       ///< The last ends at 2^37 ns, 137 s.
  static constexpr std::size_t per_octave = 36;
  static constexpr std::size_t buckets = octaves * per_octave;
  /// A latency within the scale differs from its bucket's middle() by at most this fraction.
  static constexpr double bound = 0.01;

  [[nodiscard]] static constexpr std::size_t index(Duration latency) noexcept {
    auto const ns = static_cast<std::uint64_t>(
        std::clamp<std::int64_t>(latency.count(), lower(0), lower(buckets) - 1));
    auto const octave = static_cast<unsigned>(std::bit_width(ns)) - 1;
    auto const slice = (ns >> (octave - slice_bits)) % slices;
    return (octave - first_octave) * per_octave + table.bucket_of[slice];
  }
  /// The least latency of a bucket, in ns; lower(buckets) is the end of the last one.
  [[nodiscard]] static constexpr std::int64_t lower(std::size_t bucket) noexcept {
    auto const octave = first_octave + bucket / per_octave;
    return static_cast<std::int64_t>(slices + table.start_of[bucket % per_octave])
           << (octave - slice_bits);
  }
  [[nodiscard]] static constexpr std::int64_t width(std::size_t bucket) noexcept {
    return lower(bucket + 1) - lower(bucket);
  }
  /// As far from the bucket's lower bound as from its upper one, as a ratio: 2 lo hi / (lo + hi).
  [[nodiscard]] static constexpr double middle(std::size_t bucket) noexcept;

 private:
  static constexpr unsigned slice_bits = 9;
  static constexpr std::uint64_t slices = 1U << slice_bits;  // of an octave

  struct Table {
    std::array<std::uint8_t, slices> bucket_of{};
    std::array<std::uint16_t, per_octave> start_of{};  // slice
  };
  /// Each bucket takes as many slices as the bound allows: (hi - lo) / (hi + lo) <= bound.
  static consteval Table make_table() {
    Table made;
    std::uint64_t start = 0;
    std::size_t bucket = 0;
    for (std::uint64_t slice = 0; slice < slices; ++slice) {
      auto const low = static_cast<double>(slices + start);
      auto const high = static_cast<double>(slices + slice + 1);
      if ((high - low) / (high + low) > bound) {
        start = slice;
        made.start_of.at(++bucket) = static_cast<std::uint16_t>(start);
      }
      made.bucket_of[slice] = static_cast<std::uint8_t>(bucket);
    }
    if (bucket + 1 != per_octave) throw "per_octave must be the number of buckets that is needed";
    return made;
  }
  static Table const table;
  static std::array<double, buckets> const middles;  // readers go through all of them
};

inline constexpr Scale::Table Scale::table = Scale::make_table();
inline constexpr std::array<double, Scale::buckets> Scale::middles = [] {
  std::array<double, buckets> made{};
  for (std::size_t i = 0; i < buckets; ++i) {
    auto const low = static_cast<double>(lower(i));
    auto const high = static_cast<double>(lower(i + 1));
    made[i] = 2 * low * high / (low + high);
  }
  return made;
}();
constexpr double Scale::middle(std::size_t bucket) noexcept { return middles[bucket]; }

/// *Threads* any. *Cost* of add(): one atomic add; memory: 3.7 KiB.
class Histogram {
 public:
  [[gnu::always_inline]] void add(Duration latency) noexcept {
    auto const bucket = Scale::index(latency);
    if (counts_[bucket].add(1) == 0) [[unlikely]]
      touch(bucket / Scale::per_octave);
  }

  /// The number of values in a bucket, modulo 2^32.
  [[nodiscard]] std::uint32_t count(std::size_t bucket) const noexcept {
    return counts_[bucket].load();
  }
  /// Calls visit(bucket) for all buckets of the octaves in use, in rising order.
  template <class Visit>
  void for_each_bucket(Visit const& visit) const {
    for (auto rest = octaves_.load(); rest != 0; rest &= rest - 1) {
      auto const first = static_cast<std::size_t>(std::countr_zero(rest)) * Scale::per_octave;
      for (auto bucket = first; bucket < first + Scale::per_octave; ++bucket) visit(bucket);
    }
  }

 private:
  [[gnu::noinline, gnu::cold]] void touch(std::size_t octave) noexcept {
    octaves_.include(std::uint32_t{1} << octave);  // H2
  }

  std::array<sync::Relaxed<std::uint32_t>, Scale::buckets> counts_{};  // H1
  sync::Relaxed<std::uint32_t> octaves_{0};
};

struct Percentiles;

/// A reader's copy of counts: of one histogram, of several together, or of a window.
/// *Cost* of a percentile: a loop over the buckets between the shortest and the longest latency.
class BucketCounts {
 public:
  void add(std::size_t bucket, std::uint64_t count) noexcept {
    counts_[bucket] += count;
    first_ = std::min(first_, bucket);
    end_ = std::max(end_, bucket + 1);
  }
  void add(Histogram const& histogram) noexcept {
    histogram.for_each_bucket([&](std::size_t bucket) {
      if (auto const count = histogram.count(bucket); count != 0) add(bucket, count);
    });
  }
  void clear() noexcept {
    for (auto i = first_; i < end_; ++i) counts_[i] = 0;
    first_ = Scale::buckets;
    end_ = 0;
  }
  /// What came since `earlier`.
  [[nodiscard]] BucketCounts since(BucketCounts const& earlier) const {
    auto window = *this;
    for (auto i = earlier.first_; i < earlier.end_; ++i) window.counts_[i] -= earlier.counts_[i];
    return window;
  }

  [[nodiscard]] std::uint64_t operator[](std::size_t bucket) const noexcept {
    return counts_[bucket];
  }
  [[nodiscard]] std::uint64_t total() const noexcept {
    std::uint64_t total = 0;
    for (auto i = first_; i < end_; ++i) total += counts_[i];
    return total;
  }
  /// All latencies together in seconds, derived from the buckets: each value to Scale::bound.
  [[nodiscard]] double sum_s() const noexcept {
    double sum_ns = 0;
    for (auto i = first_; i < end_; ++i)
      sum_ns += static_cast<double>(counts_[i]) * Scale::middle(i);
    return sum_ns / 1e9;
  }

  /// The latency that a fraction `q` of the values does not exceed, 0 < q <= 1; nothing if there
  /// are fewer than 10 / (1 - q) values, since fewer say too little about it.
  ///
  /// The error is at most Scale::bound, also if many values are the same: then the bucket's middle
  /// is returned. Where the buckets around it are about as full, the latency is interpolated,
  /// typically to 0.1 %; only values that clump inside five such buckets in a row could make the
  /// error exceed the bound, up to twice.
  [[nodiscard]] std::optional<Duration> quantile(double q) const noexcept {
    auto const total = this->total();
    if (!has_enough(total, q)) return std::nullopt;
    return find(q, total);
  }
  /// The same however few values there are; nothing only if there are none.
  [[nodiscard]] std::optional<Duration> rough_quantile(double q) const noexcept {
    auto const total = this->total();
    if (total == 0) return std::nullopt;
    return find(q, total);
  }
  [[nodiscard]] Percentiles percentiles(Duration window) const noexcept;

 private:
  /// A bucket, and how many values lie below it.
  struct Position {
    std::size_t bucket;
    std::uint64_t before;
  };

  static bool has_enough(std::uint64_t total, double q) noexcept {
    auto const values = static_cast<double>(total);
    constexpr double rounding = 1e-9;  // 1000 * (1 - 0.99) is a little less than 10
    return values * (1 - q) >= 10 - rounding * values;
  }

  /// *Requires* a total above 0.
  [[nodiscard]] Duration find(double q, std::uint64_t total) const noexcept {
    return value_at(advance({first_, 0}, q, total), q, total);
  }
  static std::uint64_t rank_of(double q, std::uint64_t total) noexcept {  // from 1
    auto const rank = std::ceil(q * static_cast<double>(total));
    return std::clamp<std::uint64_t>(static_cast<std::uint64_t>(rank), 1, total);
  }
  [[nodiscard]] Position advance(Position at, double q, std::uint64_t total) const noexcept {
    auto const rank = rank_of(q, total);
    while (at.before + counts_[at.bucket] < rank) at.before += counts_[at.bucket++];
    return at;
  }
  [[nodiscard]] Duration value_at(Position at, double q, std::uint64_t total) const noexcept {
    if (!is_smooth(at.bucket)) return Duration{std::llround(Scale::middle(at.bucket))};
    auto const rank = static_cast<double>(rank_of(q, total) - at.before);
    auto const part = (rank - 0.5) / static_cast<double>(counts_[at.bucket]);
    return Duration{Scale::lower(at.bucket) +
                    std::llround(part * static_cast<double>(Scale::width(at.bucket)))};
  }

  /// Do its two neighbours on each side hold about as many for their width? Within a quarter, and
  /// within four standard deviations of counts of this size.
  [[nodiscard]] bool is_smooth(std::size_t bucket) const noexcept {
    if (bucket < 2 || bucket + 2 >= Scale::buckets || counts_[bucket] < 8) return false;
    auto const own = static_cast<double>(counts_[bucket]);
    auto const tolerance = own / 4 + 4 * std::sqrt(own);
    for (auto const other : {bucket - 2, bucket - 1, bucket + 1, bucket + 2}) {
      auto const expected = static_cast<double>(counts_[other]) *
                            static_cast<double>(Scale::width(bucket)) /
                            static_cast<double>(Scale::width(other));
      if (std::abs(expected - own) > tolerance) return false;
    }
    return true;
  }

  std::vector<std::uint64_t> counts_ = std::vector<std::uint64_t>(Scale::buckets);
  // Every count outside is 0.
  std::size_t first_ = Scale::buckets;
  std::size_t end_ = 0;
};

/// The percentiles of one window, and how many values they come from.
struct Percentiles {
  std::uint64_t count = 0;
  Duration window{};  ///< How long it was watched.
  // Empty if there were too few values: see BucketCounts::quantile.
  std::optional<Duration> p50{};
  std::optional<Duration> p90{};
  std::optional<Duration> p99{};
  std::optional<Duration> p999{};
};

inline Percentiles BucketCounts::percentiles(Duration window) const noexcept {
  Percentiles result{.count = total(), .window = window};
  Position at{first_, 0};
  for (auto const& [q, place] : {std::pair{0.5, &result.p50}, std::pair{0.9, &result.p90},
                                 std::pair{0.99, &result.p99}, std::pair{0.999, &result.p999}}) {
    if (!has_enough(result.count, q)) break;
    at = advance(at, q, result.count);
    *place = value_at(at, q, result.count);
  }
  return result;
}

}  // namespace poise::inline v0_1_0::observe
