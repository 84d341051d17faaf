/// Expected failures as values: Code, Status, Result<T>, TS_TRY.
///
/// A function whose failure is part of its contract (a missing file, a malformed field, an absent
/// shard) returns Status or Result<T>. A failed library call throws a typed exception instead, and
/// our own mistake stops in TS_REQUIRE (require.h). Source of the split: absl::Status, 3FS Result.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace tessera {

enum class Code : std::uint8_t {
  kOk,
  kInvalidArgument,     // the user's input is wrong; a program exits with 2
  kNotFound,            // the named thing does not exist
  kDataLoss,            // bytes exist but fail their checksum or length
  kFailedPrecondition,  // a legal request in the wrong state
  kResourceExhausted,   // disk full, memory or budget spent
  kDeadlineExceeded,    // a wait ended without its event
  kUnavailable,         // a peer or a service is gone; trying again may help
  kIoError,             // the operating system refused a read or a write
  kInternal,
};

[[nodiscard]] std::string_view code_name(Code code);

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}

  [[nodiscard]] bool ok() const { return code_ == Code::kOk; }
  [[nodiscard]] Code code() const { return code_; }
  [[nodiscard]] const std::string& message() const { return message_; }

 private:
  Code code_ = Code::kOk;
  std::string message_;
};

/// What a user needs to repair an input. Every field may be empty; the text is one short screen:
///
///   error: model/config.json: hidden_size
///     found     -3
///     expected  an integer from 1 to 1048576
///     remedy    copy the value from the model's Hugging Face page
struct Complaint {
  std::string file;   // path as the user wrote it, or the flag
  std::string field;  // dotted path inside the file
  std::string found;
  std::string expected;
  std::string remedy;
};

/// kInvalidArgument (or `code`) with the Complaint laid out as above, without the leading "error: ".
[[nodiscard]] Status bad_input(const Complaint& complaint, Code code = Code::kInvalidArgument);

/// A value or the Status that explains its absence; never both, never neither.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}          // NOLINT(google-explicit-constructor)
  Result(Status status) : status_(std::move(status)) {}  // NOLINT(google-explicit-constructor)

  [[nodiscard]] bool ok() const { return value_.has_value(); }
  [[nodiscard]] const Status& status() const { return status_; }
  [[nodiscard]] T& value() & { return value_.value(); }
  [[nodiscard]] const T& value() const& { return value_.value(); }
  [[nodiscard]] T&& value() && { return std::move(value_).value(); }
  T* operator->() { return &value_.value(); }
  const T* operator->() const { return &value_.value(); }

 private:
  std::optional<T> value_;
  Status status_;
};

namespace internal {
inline const Status& status_of(const Status& status) { return status; }
template <class T>
const Status& status_of(const Result<T>& result) {
  return result.status();
}
inline void value_of(Status&& /*unused*/) {}
template <class T>
T value_of(Result<T>&& result) {
  return std::move(result).value();
}
}  // namespace internal

}  // namespace tessera

/// `auto spec = TS_TRY(parse(text));` or `TS_TRY(write(file));`: returns the failure to the caller.
#define TS_TRY(expression)                                                 \
  __extension__({                                                          \
    auto ts_result = (expression);                                         \
    if (!ts_result.ok()) return ::tessera::internal::status_of(ts_result); \
    ::tessera::internal::value_of(std::move(ts_result));                   \
  })
