// ptxrun: functional execution of PTX kernels on a CPU, for correctness tests.
// Public interface. See ../README.md for coverage and limits.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace ptxrun {

struct Dim3 {
  uint32_t x = 1, y = 1, z = 1;
  Dim3() = default;
  Dim3(uint32_t x_, uint32_t y_ = 1, uint32_t z_ = 1) : x(x_), y(y_), z(z_) {}
  uint64_t count() const { return (uint64_t)x * y * z; }
};

// In: a kernel store is an error.  Out: starts uninitialised (reads before a
// store are reported).  InOut: starts as uploaded, or zero-filled.
enum class Access { In, Out, InOut };
enum class Order { Forward, Reverse, Shuffle };

struct Options {
  bool race_shared = true;    // data races on shared memory (vector clocks)
  bool race_global = true;    // conflicting plain accesses to global memory in one launch
  bool init_shared = true;    // loads of shared bytes never stored
  bool init_global = true;    // loads of global bytes never stored (Access::Out, alloc without fill)
  bool shfl_inactive = true;  // shuffles that read a lane that does not take part
  bool approx_noise = false;  // perturb *.approx results within their documented error
  Order block_order = Order::Forward;
  Order warp_order = Order::Forward;
  uint64_t seed = 1;             // for Order::Shuffle
  unsigned resident_blocks = 1;  // blocks interleaved at once; 0 = the whole grid (grid-wide spinning)
  uint64_t max_warp_insts = 300000000ull;  // per launch (about 100 s); a runaway loop ends with an error
  uint32_t quantum = 20000;                // warp instructions before another warp gets its turn
  uint32_t smem_limit = 227 * 1024;
  unsigned max_findings = 40;  // distinct findings kept
  FILE* printf_out = stdout;   // device printf
  int64_t trace_block = -1;    // linear block index whose instructions are printed to stderr
  int64_t trace_warp = -1;     // restrict the trace to one warp
};

// A fault that ends the launch: out of bounds, misaligned, unsupported, deadlock, ...
struct Error : std::runtime_error {
  std::string kind;
  Error(std::string k, const std::string& msg) : std::runtime_error(msg), kind(std::move(k)) {}
};

// A non-fatal defect: race, uninitialised read, shuffle from an inactive lane.
struct Finding {
  std::string kind, message;
  uint64_t count = 1;
};

struct Stats {
  uint64_t blocks = 0, warp_insts = 0, thread_insts = 0, mma = 0;
  double seconds = 0;  // processor time
};

struct ParamInfo {
  std::string name;
  uint32_t offset, size, align;
};
struct KernelInfo {
  std::string name;
  std::vector<ParamInfo> params;
  uint32_t param_bytes = 0;
  uint32_t static_shared = 0, local_bytes = 0, insts = 0;
  uint32_t reqntid[3] = {0, 0, 0}, maxntid[3] = {0, 0, 0};
  std::string ptx_file;
};

// Arguments in declaration order; each value must have the size of its parameter.
class Args {
 public:
  template <class T>
  Args& add(const T& v) {
    static_assert(std::is_trivially_copyable<T>::value, "plain data only");
    return raw(&v, sizeof(T));
  }
  Args& raw(const void* p, size_t n) {
    vals.emplace_back((const uint8_t*)p, (const uint8_t*)p + n);
    return *this;
  }
  std::vector<std::vector<uint8_t>> vals;
};

// Fills a 128-byte tensor map for cp.async.bulk.tensor, in ptxrun's own encoding, from the arguments of
// cuTensorMapEncodeTiled (dtype and swizzle are the driver's enum values).  False if they are not valid.
bool encode_tiled(void* map128, int dtype, unsigned rank, uint64_t addr, const uint64_t* dims,
                  const uint64_t* strides, const uint32_t* box, const uint32_t* elem_strides, int interleave,
                  int swizzle, int oob_fill);

class Machine;

class Runtime {
 public:
  explicit Runtime(const Options& o = Options());
  ~Runtime();
  Options& options();

  void load_file(const std::string& path);                           // a .ptx file; may be called repeatedly
  void load_text(const std::string& text, const std::string& name);  // PTX text; name is for messages
  std::vector<std::string> kernels() const;
  // Exact name, or a substring that exactly one kernel has.
  std::string find_kernel(const std::string& name) const;
  KernelInfo info(const std::string& kernel);

  uint64_t alloc(size_t bytes, const std::string& name = "buf", Access a = Access::InOut);
  void release(uint64_t addr);
  void upload(uint64_t addr, const void* src, size_t n);
  void download(void* dst, uint64_t addr, size_t n) const;
  void fill(uint64_t addr, uint8_t byte, size_t n);
  bool is_device(uint64_t addr) const;
  // Lets kernels dereference this host memory at its own address (pinned / managed memory).
  void map_host(void* p, size_t n, const std::string& name = "host");
  void unmap_host(void* p);
  // Address of a module-scope __device__ or __constant__ variable; 0 if there is none.
  uint64_t symbol(const std::string& name, size_t* bytes = nullptr);

  Stats launch(const std::string& kernel, Dim3 grid, Dim3 block, uint32_t dyn_shared, const Args& args);

  const std::vector<Finding>& findings() const;
  void clear_findings();
  std::string report() const;  // findings as text, one a line

 private:
  std::unique_ptr<Machine> m_;
};

}  // namespace ptxrun
