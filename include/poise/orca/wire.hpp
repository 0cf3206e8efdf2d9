// SPDX-License-Identifier: MIT
#pragma once

// The wire format of protobuf, as far as load reports need it: numbers, doubles, texts and messages
// inside a message. libprotobuf would be a dependency for five doubles and three maps.
//
// Groups, which proto3 does not have, are refused.
//
// Source: protobuf.dev/programming-guides/encoding.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace poise::inline v0_1_0::orca::detail {

enum class WireType : std::uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

struct WireField {
  std::uint32_t number = 0;
  WireType type = WireType::varint;
  std::uint64_t value = 0;   ///< Of a number; of a double its bits.
  std::string_view bytes{};  ///< Of a text or a message.
};

/// The fields of a message, one after the other. The bytes must outlive it.
class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : rest_{bytes} {}

  /// Nothing at the end, and at what is no field: then is_broken().
  [[nodiscard]] std::optional<WireField> next() {
    if (rest_.empty() || broken_) return std::nullopt;
    auto const tag = varint();
    WireField field;
    field.number = static_cast<std::uint32_t>(tag >> 3U);
    field.type = static_cast<WireType>(tag & 7U);
    if (tag > 0xffff'ffffU || field.number == 0) broken_ = true;
    switch (field.type) {
      case WireType::varint: field.value = varint(); break;
      case WireType::fixed64: field.value = fixed(8); break;
      case WireType::fixed32: field.value = fixed(4); break;
      case WireType::bytes: field.bytes = take(varint()); break;
      default: broken_ = true;
    }
    return broken_ ? std::nullopt : std::optional{field};
  }
  [[nodiscard]] bool is_broken() const noexcept { return broken_; }

 private:
  std::string_view take(std::uint64_t size) {
    if (size > rest_.size()) broken_ = true;
    auto const part = rest_.substr(0, broken_ ? 0 : static_cast<std::size_t>(size));
    rest_.remove_prefix(part.size());
    return part;
  }
  /// Lowest byte first.
  std::uint64_t fixed(std::size_t size) {
    std::uint64_t value = 0;
    unsigned shift = 0;
    for (char const byte : take(size)) {
      value |= std::uint64_t{static_cast<unsigned char>(byte)} << shift;
      shift += 8;
    }
    return value;
  }
  /// Seven bits a byte, lowest first; the eighth bit says that more follow. At most 64 bits.
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      auto const byte = fixed(1);
      if (shift == 63 && byte > 1) broken_ = true;
      if (broken_) return 0;
      value |= (byte & 0x7fU) << shift;
      if (byte < 0x80U) return value;
    }
    return 0;
  }

  std::string_view rest_;
  bool broken_ = false;
};

inline void add_varint(std::string& bytes, std::uint64_t value) {
  for (; value >= 0x80U; value >>= 7U) bytes += static_cast<char>((value & 0x7fU) | 0x80U);
  bytes += static_cast<char>(value);
}
inline void add_tag(std::string& bytes, std::uint32_t number, WireType type) {
  add_varint(bytes, std::uint64_t{number} << 3U | static_cast<std::uint64_t>(type));
}
inline void add_fixed64(std::string& bytes, std::uint32_t number, std::uint64_t value) {
  add_tag(bytes, number, WireType::fixed64);
  for (int i = 0; i < 8; ++i, value >>= 8U) bytes += static_cast<char>(value & 0xffU);
}
inline void add_bytes(std::string& bytes, std::uint32_t number, std::string_view value) {
  add_tag(bytes, number, WireType::bytes);
  add_varint(bytes, value.size());
  bytes += value;
}

}  // namespace poise::inline v0_1_0::orca::detail
