/// The bytes of a ledger's file: a snapshot of the accounts, then every operation since, in frames.
///
/// All numbers little-endian.
///   header   "TSRTTL1\n", i64 ttl, i64 buckets, u64 XXH3 of these 24 bytes
///   frame    u32 "FRAM", u32 type, u64 sequence, u64 payload bytes, u64 XXH3 of these 24 bytes and payload,
///            payload, zeros up to a multiple of 8. Sequence counts from 0 in each file.
///     begin       i64 clock, then credited, spent, expired, live, each u64 low, u64 high
///     accounts    per account: u64 id, u64 n, n times (i64 expiry, u64 amount)
///     ready       u64 accounts: the snapshot is complete
///     operations  each: u8 kind, i64 now; unless a resume, u64 account, u64 to (a transfer), u64 amount
///
/// A file gets its name only when its snapshot is complete and on the disk. A frame of operations is written
/// after the one before it is on the disk, so at most the last frame can be torn by a crash, and it was never
/// acknowledged. recover() drops such a tail. A bad frame with a good one behind it is something else: the
/// disk lost what was acknowledged, and the file is refused. (A last frame that rots after it was
/// acknowledged looks like a torn one; nothing in one file can tell them apart.)
///
/// Space reserved beyond the last frame is zeros.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "algos/base/status.h"
#include "algos/ttl/accounts.h"

namespace tessera::ttl {

enum class FrameType : std::uint32_t { kBegin = 1, kAccounts = 2, kReady = 3, kOperations = 4 };

inline constexpr std::size_t kHeaderBytes = 32;
inline constexpr std::size_t kFrameHeadBytes = 32;
/// The most one operation takes in a payload.
inline constexpr std::size_t kMaxOperationBytes = 33;

/// Bytes of a frame with that payload.
[[nodiscard]] constexpr std::uint64_t frame_bytes(std::uint64_t payload) {
  return kFrameHeadBytes + (payload + 7) / 8 * 8;
}

[[nodiscard]] std::string file_header(const Policy& policy);
[[nodiscard]] std::string frame(FrameType type, std::uint64_t sequence, std::string_view payload);
void append_operation(std::string& payload, const Operation& operation);

/// Compacts the accounts and hands out header and snapshot in pieces of about a mebibyte; stops at the first
/// write that fails. Returns the sequence number of the next frame.
Result<std::uint64_t> write_snapshot(Accounts& accounts,
                                     const std::function<Status(std::string_view)>& write);

struct Recovered {
  std::unique_ptr<Accounts> accounts;
  std::uint64_t next_sequence = 0;
  std::uint64_t bytes = 0;  // up to here the file is sound; the rest is reserved space or a torn frame
  std::uint64_t snapshot_bytes = 0;  // of these
  std::uint64_t torn_bytes = 0;      // of the rest, up to its last byte that is not 0
  std::uint64_t operations = 0;      // since the snapshot
};

/// The state after the last whole frame. `max_step` completes the policy.
/// Errors    kDataLoss, with the file, the offset and what is wrong there: a damaged header, a snapshot that
///           is damaged or cut short, a bad frame before a good one, operations that cannot have been done.
Result<Recovered> recover(std::span<const std::byte> file, const std::string& path,
                          Ticks max_step = kNoStepLimit);

}  // namespace tessera::ttl
