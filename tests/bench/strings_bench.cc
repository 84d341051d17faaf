/// In-place transform and Lyndon array against libdivsufsort's divbwt, in one run: the ratio is the result.
///
/// Each line is one length; `speedup` = peer time / our time, above 1 where the in-place method wins. Rounds
/// alternate between the two and each reports its best, so that other work on the machine favours neither.
/// The heap keeps what it got: the peer's table of 256 KiB is not mapped anew on each call.
///   strings-bench [--limit n]      longest text, default 65536
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <divsufsort.h>
#include <malloc.h>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "algos/strings/bwt.h"
#include "algos/strings/bwt_in_place.h"

namespace tessera::strings {
namespace {

using Bytes = std::vector<std::uint8_t>;

template <class F>
double seconds_each(int repeats, const Bytes& text, Bytes& work, F f) {
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < repeats; ++i) {
    std::copy(text.begin(), text.end(), work.begin());
    f();
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / repeats;
}

double best(const std::vector<double>& values) { return *std::min_element(values.begin(), values.end()); }

void compare(std::size_t n) {
  std::mt19937 random(1);
  // Random letters: every rank moves and every comparison matters.
  Bytes text(n);
  for (auto& c : text) c = static_cast<std::uint8_t>('a' + random() % 26);
  Bytes work(n);
  std::vector<std::uint32_t> lyn(n);
  const int repeats = static_cast<int>(std::max<std::size_t>(1, 200000 / (n * n / 64 + 2000)));
  const auto in_place = [&] { (void)bwt_in_place(std::span(work)); };
  const auto peer = [&] { (void)divbwt(work.data(), work.data(), nullptr, static_cast<saidx_t>(n)); };
  const auto in_place_lyndon = [&] { (void)bwt_lyndon(work, lyn, Method::kInPlace); };
  const auto linear_lyndon = [&] { (void)bwt_lyndon(work, lyn, Method::kLinear); };
  std::vector<double> ours, theirs, ours_lyndon, linear;
  for (int round = 0; round < (n <= 8192 ? 15 : 5); ++round) {
    ours.push_back(seconds_each(repeats, text, work, in_place));
    theirs.push_back(seconds_each(repeats, text, work, peer));
    ours_lyndon.push_back(seconds_each(repeats, text, work, in_place_lyndon));
    linear.push_back(seconds_each(repeats, text, work, linear_lyndon));
  }
  const double us = 1e6;
  fmt::print("{:>8} {:>12.2f} {:>10.2f} {:>8.2f} {:>14.2f} {:>12.2f} {:>8.2f}\n", n, best(ours) * us,
             best(theirs) * us, best(theirs) / best(ours), best(ours_lyndon) * us, best(linear) * us,
             best(linear) / best(ours_lyndon));
}

}  // namespace
}  // namespace tessera::strings

int main(int argc, char** argv) {
  mallopt(M_MMAP_THRESHOLD, 1 << 28);
  mallopt(M_TRIM_THRESHOLD, 1 << 28);
  std::size_t limit = 65536;
  if (argc == 3 && std::string_view(argv[1]) == "--limit") limit = std::stoul(argv[2]);
  fmt::print(
      "times in microseconds; speedup = peer / in place\n{:>8} {:>12} {:>10} {:>8} {:>14} {:>12} {:>8}\n",
      "bytes", "in-place bwt", "divbwt", "speedup", "in-place +lyn", "linear +lyn", "speedup");
  for (const std::size_t n :
       {16U, 64U, 256U, 512U, 768U, 1024U, 1280U, 1536U, 1792U, 2048U, 3072U, 4096U, 8192U, 16384U, 65536U}) {
    if (n <= limit) tessera::strings::compare(n);
  }
}
