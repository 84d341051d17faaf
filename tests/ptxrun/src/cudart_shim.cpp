// libptxrun_cudart.so: a stand-in for the CUDA runtime library that executes kernels with ptxrun.
// Loaded with LD_PRELOAD (or linked in place of libcudart) it runs host programs that launch their
// own kernels, on a machine without a GPU.  See ../README.md.
#include <algorithm>
#include <chrono>
#include <cstdarg>
#include <cstdlib>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <set>
#include <unistd.h>

#include <cuda_runtime_api.h>

#include "ptxrun.h"

using namespace ptxrun;

namespace {
typedef std::function<void()> Op;
struct Graph {
  std::vector<Op> ops;
};
struct Ev {
  // Shared with the stream's queue: an event may be destroyed before its stream gets to it.
  std::shared_ptr<std::chrono::steady_clock::time_point> t =
      std::make_shared<std::chrono::steady_clock::time_point>();
  uint64_t seq = 0;
  struct Stream* s = nullptr;
  bool recorded = false;
  std::shared_ptr<Graph> cap;
};
struct Stream {
  bool blocking = true;
  std::list<std::pair<uint64_t, Op>> q;
  std::shared_ptr<Graph> cap;
  bool origin = false;
};
struct Kern {
  std::string name;
  int max_dyn = -1;
  void* module = nullptr;
};
struct FatMod {
  std::vector<std::string> ptx;
  bool loaded = false;
  std::string problem;
};

struct State {
  std::recursive_mutex mu;
  Runtime R;
  int devices = 1, major = 9, minor = 0;
  bool lazy = false, verbose = false;
  std::list<FatMod> mods;
  std::map<const void*, Kern> kerns;
  struct Var {
    std::string name;
    size_t size;
  };
  std::map<const void*, Var> vars;
  std::map<void*, size_t> host;  // pinned and managed
  std::map<uint64_t, size_t> dev;
  std::set<Stream*> streams;
  Stream legacy;
  uint64_t seq = 0;
  cudaError_t sticky = cudaSuccess;
  size_t shown = 0;
  uint64_t launches = 0, tinsts = 0;
  double secs = 0;
  State() {
    if (const char* e = getenv("PTXRUN_DEVICES")) devices = atoi(e);
    if (const char* e = getenv("PTXRUN_ARCH")) {
      int a = atoi(e);
      major = a / 10;
      minor = a % 10;
    }
    lazy = getenv("PTXRUN_LAZY") && *getenv("PTXRUN_LAZY") == '1';
    verbose = getenv("PTXRUN_VERBOSE") != nullptr;
    Options& o = R.options();
    auto off = [](const char* n) {
      const char* e = getenv(n);
      return e && *e == '0';
    };
    if (off("PTXRUN_RACE")) o.race_shared = o.race_global = false;
    if (off("PTXRUN_INIT")) o.init_shared = o.init_global = false;
    if (getenv("PTXRUN_NOISE")) o.approx_noise = true;
    if (const char* e = getenv("PTXRUN_ORDER")) {
      Order x = *e == 'r' ? Order::Reverse : *e == 's' ? Order::Shuffle : Order::Forward;
      o.block_order = o.warp_order = x;
    }
    if (const char* e = getenv("PTXRUN_SEED")) o.seed = strtoull(e, nullptr, 0);
    if (const char* e = getenv("PTXRUN_MAX")) o.max_warp_insts = strtoull(e, nullptr, 0);
    if (const char* e = getenv("PTXRUN_RESIDENT")) o.resident_blocks = (unsigned)atoi(e);
    if (const char* e = getenv("PTXRUN_PTX")) {
      std::string s = e;
      for (size_t i = 0; i <= s.size();) {
        size_t j = s.find(':', i);
        if (j == std::string::npos) j = s.size();
        if (j > i) R.load_file(s.substr(i, j - i));
        i = j + 1;
      }
    }
  }
};
State& S() {
  static State* s = new State;  // never destroyed: used by exit handlers
  return *s;
}
#define LOCK std::lock_guard<std::recursive_mutex> g_(S().mu)
thread_local cudaError_t t_last = cudaSuccess;
thread_local int t_dev = 0;
cudaError_t ret(cudaError_t e) {
  if (e != cudaSuccess) t_last = e;
  return e;
}
cudaError_t fail(cudaError_t e, const char* f, ...) {
  va_list a;
  va_start(a, f);
  fprintf(stderr, "ptxrun: ");
  vfprintf(stderr, f, a);
  fprintf(stderr, "\n");
  va_end(a);
  return ret(e);
}
void show() {
  auto& f = S().R.findings();
  for (; S().shown < f.size(); S().shown++) fprintf(stderr, "ptxrun: %s\n", f[S().shown].message.c_str());
}
void at_exit() {
  LOCK;
  show();
  if (S().verbose)
    fprintf(stderr, "ptxrun: %llu launches, %.1f M thread instructions, %.2f s\n",
            (unsigned long long)S().launches, S().tinsts / 1e6, S().secs);
  if (!S().R.findings().empty() || S().sticky != cudaSuccess) {
    fprintf(stderr, "ptxrun: %zu findings%s\n", S().R.findings().size(),
            S().sticky != cudaSuccess ? ", and a failed launch" : "");
    const char* e = getenv("PTXRUN_EXIT");
    fflush(nullptr);
    if (!e || *e != '0') _exit(86);
  }
}

// ---- streams: eager by default; lazy mode holds work back until something waits for it
void run_op(const Op& o) { o(); }
void drain(Stream* s, uint64_t upto = UINT64_MAX) {
  while (!s->q.empty() && s->q.front().first <= upto) {
    Op o = std::move(s->q.front().second);
    s->q.pop_front();
    run_op(o);
  }
}
void drain_blocking() {
  for (Stream* s : S().streams)
    if (s->blocking) drain(s);
  drain(&S().legacy);
}
void drain_all() {
  for (Stream* s : S().streams) drain(s);
  drain(&S().legacy);
}
Stream* st(cudaStream_t s) {
  return s == nullptr || s == cudaStreamLegacy || s == cudaStreamPerThread ? &S().legacy : (Stream*)s;
}
cudaError_t submit(cudaStream_t cs, Op o) {
  Stream* s = st(cs);
  if (s->cap) {
    s->cap->ops.push_back(std::move(o));
    return cudaSuccess;
  }
  if (S().lazy && s != &S().legacy) {
    s->q.emplace_back(++S().seq, std::move(o));
    return cudaSuccess;
  }
  if (s == &S().legacy)
    drain_blocking();
  else
    drain(s);
  run_op(o);
  return ret(S().sticky);
}

// ---- memory
void do_copy(void* d, const void* s, size_t n) {
  if (!n) return;
  Runtime& R = S().R;
  uint64_t dd = (uint64_t)d, ss = (uint64_t)s;
  bool a = R.is_device(dd), b = R.is_device(ss);
  try {
    if (a && b) {
      std::vector<uint8_t> t(n);
      R.download(t.data(), ss, n);
      R.upload(dd, t.data(), n);
    } else if (a)
      R.upload(dd, s, n);
    else if (b)
      R.download(d, ss, n);
    else
      memmove(d, s, n);
  } catch (Error& e) {
    fprintf(stderr, "ptxrun: copy: %s\n", e.what());
    S().sticky = cudaErrorInvalidValue;
    t_last = cudaErrorInvalidValue;
  }
}
void do_set(void* d, int v, size_t n) {
  try {
    if (S().R.is_device((uint64_t)d))
      S().R.fill((uint64_t)d, (uint8_t)v, n);
    else
      memset(d, v, n);
  } catch (Error& e) {
    fprintf(stderr, "ptxrun: memset: %s\n", e.what());
    S().sticky = cudaErrorInvalidValue;
    t_last = cudaErrorInvalidValue;
  }
}

// ---- modules
void load_mod(FatMod& m) {
  if (m.loaded) return;
  m.loaded = true;
  if (!m.problem.empty()) fprintf(stderr, "ptxrun: %s\n", m.problem.c_str());
  for (auto& p : m.ptx) S().R.load_text(p, "embedded.ptx");
}
void parse_fat(FatMod& m, const uint8_t* p) {
  uint32_t magic;
  memcpy(&magic, p, 4);
  if (magic != 0xba55ed50u) {
    m.problem = "unknown fat binary format";
    return;
  }
  uint16_t hs;
  uint64_t fs;
  memcpy(&hs, p + 6, 2);
  memcpy(&fs, p + 8, 8);
  const uint8_t *e = p + hs, *end = e + fs;
  int best = -1, packed = 0;
  std::string text;
  while (e + 64 <= end) {
    uint16_t kind;
    uint32_t eh, arch, flags;
    uint64_t sz;
    memcpy(&kind, e, 2);
    memcpy(&eh, e + 4, 4);
    memcpy(&sz, e + 8, 8);
    memcpy(&arch, e + 28, 4);
    memcpy(&flags, e + 40, 4);
    if (kind == 1) {
      const char* t = (const char*)e + eh;
      bool plain = false;
      for (uint64_t i = 0; i < std::min<uint64_t>(sz, 4096); i++)
        if (!strncmp(t + i, ".version", 8)) {
          plain = true;
          break;
        }
      if (!plain)
        packed++;
      else if ((int)arch <= S().major * 10 + S().minor && (int)arch > best) {
        best = (int)arch;
        text.assign(t, strnlen(t, sz));
      }
    }
    e += eh + sz;
  }
  if (best >= 0)
    m.ptx.push_back(text);
  else if (!getenv("PTXRUN_PTX"))
    m.problem = packed ? "the embedded PTX is compressed: build with nvcc --no-compress"
                       : "no embedded PTX for this architecture: add -gencode "
                         "arch=compute_90,code=compute_90, or name PTX files in PTXRUN_PTX";
}

cudaError_t launch(Kern& k, dim3 g, dim3 b, void** args, size_t dyn, cudaStream_t s, bool coop) {
  LOCK;
  if (S().sticky != cudaSuccess) return ret(S().sticky);
  Args a;
  std::string name;
  try {
    if (k.module) load_mod(*(FatMod*)k.module);
    name = S().R.find_kernel(k.name);
    KernelInfo i = S().R.info(name);
    for (size_t n = 0; n < i.params.size(); n++) a.raw(args[n], i.params[n].size);
    if (k.max_dyn < 0 ? dyn + i.static_shared > 48 * 1024 : dyn > (size_t)k.max_dyn)
      return fail(cudaErrorInvalidValue,
                  "launch of %s: %zu bytes of dynamic shared memory with %u static, but the limit %s",
                  name.c_str(), dyn, i.static_shared,
                  k.max_dyn < 0 ? "is 48 KiB in all until cudaFuncSetAttribute raises it"
                                : ("set for the function is " + std::to_string(k.max_dyn)).c_str());
  } catch (Error& e) {
    return fail(e.kind == "kernel" ? cudaErrorInvalidDeviceFunction : cudaErrorInvalidKernelImage, "%s",
                e.what());
  }
  if (!g.x || !g.y || !g.z || !b.x || !b.y || !b.z || (uint64_t)b.x * b.y * b.z > 1024)
    return fail(cudaErrorInvalidConfiguration, "launch of %s: grid (%u,%u,%u) block (%u,%u,%u)", name.c_str(),
                g.x, g.y, g.z, b.x, b.y, b.z);
  return submit(s, [=] {
    if (S().sticky != cudaSuccess) return;
    unsigned keep = S().R.options().resident_blocks;
    if (coop) S().R.options().resident_blocks = 0;
    try {
      Stats x = S().R.launch(name, Dim3(g.x, g.y, g.z), Dim3(b.x, b.y, b.z), (uint32_t)dyn, a);
      S().launches++;
      S().tinsts += x.thread_insts;
      S().secs += x.seconds;
    } catch (Error& e) {
      fprintf(stderr, "ptxrun: %s\n", e.what());
      cudaError_t c = e.kind == "out of bounds" || e.kind == "read-only" || e.kind == "address"
                          ? cudaErrorIllegalAddress
                      : e.kind == "misaligned" ? cudaErrorMisalignedAddress
                      : e.kind == "assert"     ? cudaErrorAssert
                      : e.kind == "launch"     ? cudaErrorInvalidValue
                                               : cudaErrorLaunchFailure;
      if (e.kind != "launch") S().sticky = c;
      t_last = c;
    }
    S().R.options().resident_blocks = keep;
    show();
  });
}
Kern* kern(const void* f) {
  auto it = S().kerns.find(f);
  if (it != S().kerns.end()) return &it->second;
  for (auto& k : S().kerns)
    if (&k.second == f) return &k.second;  // a handle of __cudaGetKernel
  return nullptr;
}
uint64_t var(const void* s) {
  auto it = S().vars.find(s);
  if (it == S().vars.end()) return 0;
  for (auto& m : S().mods) load_mod(m);
  return S().R.symbol(it->second.name);
}
struct Conf {
  dim3 g, b;
  size_t sh;
  void* s;
};
thread_local std::vector<Conf> t_conf;
}  // namespace

extern "C" {
// ---- compiler support
void** __cudaRegisterFatBinary(void* w) {
  LOCK;
  static bool once = (atexit(at_exit), true);
  (void)once;
  struct Wrap {
    int magic, version;
    const uint8_t* data;
    void* f;
  }* x = (Wrap*)w;
  S().mods.emplace_back();
  FatMod& m = S().mods.back();
  if (x->magic != 0x466243b1)
    m.problem = "unknown fat binary wrapper";
  else
    parse_fat(m, x->data);
  return (void**)&m;
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
char __cudaInitModule(void**) { return 1; }
void __cudaRegisterFunction(void** m, const char* h, char*, const char* n, int, uint3*, uint3*, dim3*, dim3*,
                            int*) {
  LOCK;
  S().kerns[h].name = n;
  S().kerns[h].module = m;
}
void __cudaRegisterVar(void**, char* h, char*, const char* n, int, size_t sz, int, int) {
  LOCK;
  S().vars[h] = {n, sz};
}
void __cudaRegisterManagedVar(void**, void**, char*, const char* n, int, size_t, int, int) {
  fprintf(stderr, "ptxrun: __managed__ variable %s is not supported\n", n);
}
unsigned __cudaPushCallConfiguration(dim3 g, dim3 b, size_t sh, void* s) {
  t_conf.push_back({g, b, sh, s});
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* g, dim3* b, size_t* sh, void* s) {
  if (t_conf.empty()) return cudaErrorInvalidConfiguration;
  Conf c = t_conf.back();
  t_conf.pop_back();
  *g = c.g;
  *b = c.b;
  *sh = c.sh;
  *(void**)s = c.s;
  return cudaSuccess;
}
cudaError_t __cudaGetKernel(cudaKernel_t* k, const void* f) {
  LOCK;
  Kern* x = kern(f);
  if (!x) return cudaErrorInvalidDeviceFunction;
  *k = (cudaKernel_t)x;
  return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t k, dim3 g, dim3 b, void** a, size_t sh, cudaStream_t s) {
  if (!k) return fail(cudaErrorInvalidDeviceFunction, "launch of an unknown kernel");
  return launch(*(Kern*)k, g, b, a, sh, s, false);
}

// ---- launches
cudaError_t cudaLaunchKernel(const void* f, dim3 g, dim3 b, void** a, size_t sh, cudaStream_t s) {
  Kern* k = kern(f);
  return k ? launch(*k, g, b, a, sh, s, false)
           : fail(cudaErrorInvalidDeviceFunction, "launch of an unknown kernel");
}
cudaError_t cudaLaunchCooperativeKernel(const void* f, dim3 g, dim3 b, void** a, size_t sh, cudaStream_t s) {
  Kern* k = kern(f);
  return k ? launch(*k, g, b, a, sh, s, true)
           : fail(cudaErrorInvalidDeviceFunction, "launch of an unknown kernel");
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* c, const void* f, void** a) {
  Kern* k = kern(f);
  if (!k) return fail(cudaErrorInvalidDeviceFunction, "launch of an unknown kernel");
  bool coop = false;
  for (unsigned i = 0; i < c->numAttrs; i++) {
    if (c->attrs[i].id == cudaLaunchAttributeCooperative) coop = c->attrs[i].val.cooperative;
    if (c->attrs[i].id == cudaLaunchAttributeClusterDimension &&
        (c->attrs[i].val.clusterDim.x > 1 || c->attrs[i].val.clusterDim.y > 1 ||
         c->attrs[i].val.clusterDim.z > 1))
      return fail(cudaErrorNotSupported, "clusters are not supported");
  }
  return launch(*k, c->gridDim, c->blockDim, a, c->dynamicSmemBytes, c->stream, coop);
}
cudaError_t cudaLaunchHostFunc(cudaStream_t s, cudaHostFn_t f, void* d) {
  LOCK;
  return submit(s, [=] { f(d); });
}
cudaError_t cudaFuncSetAttribute(const void* f, cudaFuncAttribute a, int v) {
  LOCK;
  Kern* k = kern(f);
  if (!k) return ret(cudaErrorInvalidDeviceFunction);
  if (a == cudaFuncAttributeMaxDynamicSharedMemorySize) {
    if (v > (int)S().R.options().smem_limit) return ret(cudaErrorInvalidValue);
    k->max_dyn = v;
  }
  return cudaSuccess;
}
cudaError_t cudaFuncSetCacheConfig(const void*, cudaFuncCache) { return cudaSuccess; }
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* o, const void* f) {
  LOCK;
  Kern* k = kern(f);
  if (!k) return ret(cudaErrorInvalidDeviceFunction);
  try {
    load_mod(*(FatMod*)k->module);
    KernelInfo i = S().R.info(k->name);
    memset(o, 0, sizeof *o);
    o->sharedSizeBytes = i.static_shared;
    o->localSizeBytes = i.local_bytes;
    o->maxThreadsPerBlock = i.maxntid[0] ? (int)(i.maxntid[0] * i.maxntid[1] * i.maxntid[2]) : 1024;
    o->numRegs = 64;
    o->ptxVersion = o->binaryVersion = S().major * 10 + S().minor;
    o->maxDynamicSharedSizeBytes = k->max_dyn < 0 ? 48 * 1024 - (int)i.static_shared : k->max_dyn;
  } catch (Error& e) {
    return fail(cudaErrorInvalidDeviceFunction, "%s", e.what());
  }
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* n, const void* f, int bs, size_t dyn,
                                                                   unsigned) {
  LOCK;
  cudaFuncAttributes a;
  cudaError_t e = cudaFuncGetAttributes(&a, f);
  if (e) return e;
  size_t sm = dyn + a.sharedSizeBytes + 1024;
  *n = std::max(0, std::min({2048 / std::max(1, bs), (int)(228 * 1024 / sm), 32}));
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* n, const void* f, int bs, size_t dyn) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(n, f, bs, dyn, 0);
}

// ---- memory
cudaError_t cudaMalloc(void** p, size_t n) {
  LOCK;
  if (S().sticky) return ret(S().sticky);
  if (!n) {
    *p = nullptr;
    return cudaSuccess;
  }
  try {
    uint64_t a = S().R.alloc(n, "cudaMalloc#" + std::to_string(S().dev.size()), Access::Out);
    S().dev[a] = n;
    *p = (void*)a;
  } catch (std::exception& e) {
    return fail(cudaErrorMemoryAllocation, "%s", e.what());
  }
  return cudaSuccess;
}
cudaError_t cudaFree(void* p) {
  LOCK;
  if (!p) return cudaSuccess;
  drain_all();
  auto h = S().host.find(p);
  if (h != S().host.end()) {
    S().R.unmap_host(p);
    S().host.erase(h);
    free(p);
    return cudaSuccess;
  }
  if (!S().dev.count((uint64_t)p))
    return fail(cudaErrorInvalidValue, "cudaFree of %p, which is not an allocation", p);
  S().dev.erase((uint64_t)p);
  S().R.release((uint64_t)p);
  return cudaSuccess;
}
cudaError_t cudaMallocAsync(void** p, size_t n, cudaStream_t) { return cudaMalloc(p, n); }
cudaError_t cudaMallocFromPoolAsync(void** p, size_t n, cudaMemPool_t, cudaStream_t) {
  return cudaMalloc(p, n);
}
cudaError_t cudaFreeAsync(void* p, cudaStream_t s) {
  LOCK;
  return submit(s, [=] {
    if (S().dev.count((uint64_t)p)) {
      S().dev.erase((uint64_t)p);
      S().R.release((uint64_t)p);
    }
  });
}
static cudaError_t host_alloc(void** p, size_t n, const char* what) {
  LOCK;
  void* q = nullptr;
  if (posix_memalign(&q, 256, n ? n : 1)) return ret(cudaErrorMemoryAllocation);
  S().host[q] = n;
  S().R.map_host(q, n, what);
  *p = q;
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** p, size_t n) { return host_alloc(p, n, "pinned host memory"); }
cudaError_t cudaHostAlloc(void** p, size_t n, unsigned) { return host_alloc(p, n, "pinned host memory"); }
cudaError_t cudaMallocManaged(void** p, size_t n, unsigned) { return host_alloc(p, n, "managed memory"); }
cudaError_t cudaFreeHost(void* p) { return cudaFree(p); }
cudaError_t cudaHostRegister(void* p, size_t n, unsigned) {
  LOCK;
  S().R.map_host(p, n, "registered host memory");
  return cudaSuccess;
}
cudaError_t cudaHostUnregister(void* p) {
  LOCK;
  drain_all();
  S().R.unmap_host(p);
  return cudaSuccess;
}
cudaError_t cudaHostGetDevicePointer(void** d, void* h, unsigned) {
  *d = h;
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* d, const void* s, size_t n, cudaMemcpyKind) {
  LOCK;
  drain_blocking();
  do_copy(d, s, n);
  return ret(S().sticky);
}
cudaError_t cudaMemcpyAsync(void* d, const void* s, size_t n, cudaMemcpyKind, cudaStream_t q) {
  LOCK;
  return submit(q, [=] { do_copy(d, s, n); });
}
cudaError_t cudaMemcpyPeer(void* d, int, const void* s, int, size_t n) {
  return cudaMemcpy(d, s, n, cudaMemcpyDefault);
}
cudaError_t cudaMemcpyPeerAsync(void* d, int, const void* s, int, size_t n, cudaStream_t q) {
  return cudaMemcpyAsync(d, s, n, cudaMemcpyDefault, q);
}
static void copy2d(void* d, size_t dp, const void* s, size_t sp, size_t w, size_t h) {
  for (size_t i = 0; i < h; i++) do_copy((char*)d + i * dp, (const char*)s + i * sp, w);
}
cudaError_t cudaMemcpy2D(void* d, size_t dp, const void* s, size_t sp, size_t w, size_t h, cudaMemcpyKind) {
  LOCK;
  drain_blocking();
  copy2d(d, dp, s, sp, w, h);
  return ret(S().sticky);
}
cudaError_t cudaMemcpy2DAsync(void* d, size_t dp, const void* s, size_t sp, size_t w, size_t h,
                              cudaMemcpyKind, cudaStream_t q) {
  LOCK;
  return submit(q, [=] { copy2d(d, dp, s, sp, w, h); });
}
cudaError_t cudaMemset(void* d, int v, size_t n) {
  LOCK;
  return submit(nullptr, [=] { do_set(d, v, n); });
}
cudaError_t cudaMemsetAsync(void* d, int v, size_t n, cudaStream_t s) {
  LOCK;
  return submit(s, [=] { do_set(d, v, n); });
}
cudaError_t cudaMemset2D(void* d, size_t p, int v, size_t w, size_t h) {
  LOCK;
  return submit(nullptr, [=] {
    for (size_t i = 0; i < h; i++) do_set((char*)d + i * p, v, w);
  });
}
cudaError_t cudaMemset2DAsync(void* d, size_t p, int v, size_t w, size_t h, cudaStream_t s) {
  LOCK;
  return submit(s, [=] {
    for (size_t i = 0; i < h; i++) do_set((char*)d + i * p, v, w);
  });
}
cudaError_t cudaMemcpyToSymbolAsync(const void* v, const void* s, size_t n, size_t o, cudaMemcpyKind,
                                    cudaStream_t q) {
  LOCK;
  uint64_t a = var(v);
  if (!a) return ret(cudaErrorInvalidSymbol);
  std::vector<uint8_t> t((const uint8_t*)s, (const uint8_t*)s + n);
  return submit(q, [=] { do_copy((void*)(a + o), t.data(), n); });
}
cudaError_t cudaMemcpyToSymbol(const void* v, const void* s, size_t n, size_t o, cudaMemcpyKind k) {
  return cudaMemcpyToSymbolAsync(v, s, n, o, k, nullptr);
}
cudaError_t cudaMemcpyFromSymbolAsync(void* d, const void* v, size_t n, size_t o, cudaMemcpyKind,
                                      cudaStream_t q) {
  LOCK;
  uint64_t a = var(v);
  if (!a) return ret(cudaErrorInvalidSymbol);
  return submit(q, [=] { do_copy(d, (const void*)(a + o), n); });
}
cudaError_t cudaMemcpyFromSymbol(void* d, const void* v, size_t n, size_t o, cudaMemcpyKind k) {
  return cudaMemcpyFromSymbolAsync(d, v, n, o, k, nullptr);
}
cudaError_t cudaGetSymbolAddress(void** p, const void* v) {
  LOCK;
  uint64_t a = var(v);
  if (!a) return ret(cudaErrorInvalidSymbol);
  *p = (void*)a;
  return cudaSuccess;
}
cudaError_t cudaGetSymbolSize(size_t* n, const void* v) {
  LOCK;
  auto it = S().vars.find(v);
  if (it == S().vars.end()) return ret(cudaErrorInvalidSymbol);
  *n = it->second.size;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* f, size_t* t) {
  LOCK;
  size_t u = 0;
  for (auto& d : S().dev) u += d.second;
  *t = (size_t)16 << 30;
  *f = *t > u ? *t - u : 0;
  return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* a, const void* p) {
  LOCK;
  memset(a, 0, sizeof *a);
  a->type = cudaMemoryTypeUnregistered;
  if (S().R.is_device((uint64_t)p)) {
    a->type = cudaMemoryTypeDevice;
    a->devicePointer = (void*)p;
    a->device = t_dev;
  } else
    for (auto& h : S().host)
      if (p >= h.first && (const char*)p < (char*)h.first + h.second) {
        a->type = cudaMemoryTypeHost;
        a->hostPointer = a->devicePointer = (void*)p;
      }
  return cudaSuccess;
}
cudaError_t cudaMemPrefetchAsync(const void*, size_t, cudaMemLocation, unsigned, cudaStream_t) {
  return cudaSuccess;
}
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* p, int) {
  *p = (cudaMemPool_t)1;
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }

// ---- streams, events, graphs
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* s, unsigned f, int) {
  LOCK;
  Stream* x = new Stream;
  x->blocking = !(f & cudaStreamNonBlocking);
  S().streams.insert(x);
  *s = (cudaStream_t)x;
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned f) {
  return cudaStreamCreateWithPriority(s, f, 0);
}
cudaError_t cudaStreamCreate(cudaStream_t* s) { return cudaStreamCreateWithPriority(s, 0, 0); }
cudaError_t cudaStreamDestroy(cudaStream_t s) {
  LOCK;
  drain(st(s));
  if (s) {
    S().streams.erase((Stream*)s);
    delete (Stream*)s;
  }
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t s) {
  LOCK;
  Stream* x = st(s);
  if (x->cap) return ret(cudaErrorStreamCaptureUnsupported);
  if (x == &S().legacy)
    drain_blocking();
  else
    drain(x);
  return ret(S().sticky);
}
cudaError_t cudaStreamQuery(cudaStream_t s) {
  LOCK;
  Stream* x = st(s);
  if (x->q.empty()) return ret(S().sticky);
  drain(x, x->q.front().first);
  return x->q.empty() ? ret(S().sticky) : cudaErrorNotReady;
}
cudaError_t cudaStreamGetPriority(cudaStream_t, int* p) {
  *p = 0;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* l, int* g) {
  *l = 0;
  *g = -5;
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned) {
  *e = (cudaEvent_t) new Ev;
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* e) { return cudaEventCreateWithFlags(e, 0); }
cudaError_t cudaEventDestroy(cudaEvent_t e) {
  delete (Ev*)e;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) {
  LOCK;
  Ev* x = (Ev*)e;
  Stream* q = st(s);
  x->recorded = true;
  x->s = q;
  if (q->cap) {
    x->cap = q->cap;
    return cudaSuccess;
  }
  x->cap.reset();
  x->seq = ++S().seq;
  if (S().lazy && q != &S().legacy) {
    q->q.emplace_back(x->seq, [t = x->t] { *t = std::chrono::steady_clock::now(); });
    return cudaSuccess;
  }
  *x->t = std::chrono::steady_clock::now();
  return cudaSuccess;
}
cudaError_t cudaEventRecordWithFlags(cudaEvent_t e, cudaStream_t s, unsigned) {
  return cudaEventRecord(e, s);
}
static void ev_drain(Ev* x) {
  if (x->recorded && x->s && (x->s == &S().legacy || S().streams.count(x->s))) drain(x->s, x->seq);
}
cudaError_t cudaEventSynchronize(cudaEvent_t e) {
  LOCK;
  ev_drain((Ev*)e);
  return ret(S().sticky);
}
cudaError_t cudaEventQuery(cudaEvent_t e) {
  LOCK;
  Ev* x = (Ev*)e;
  if (x->recorded && x->s && S().streams.count(x->s) && !x->s->q.empty() && x->s->q.front().first <= x->seq) {
    drain(x->s, x->s->q.front().first);
    if (!x->s->q.empty() && x->s->q.front().first <= x->seq) return cudaErrorNotReady;
  }
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t a, cudaEvent_t b) {
  LOCK;
  ev_drain((Ev*)a);
  ev_drain((Ev*)b);
  *ms = std::chrono::duration<float, std::milli>(*((Ev*)b)->t - *((Ev*)a)->t).count();
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned) {
  LOCK;
  Ev* x = (Ev*)e;
  Stream* q = st(s);
  if (x->cap) {
    if (!q->cap) q->cap = x->cap;
    return cudaSuccess;
  }
  if (!x->recorded) return cudaSuccess;
  Stream* src = x->s;
  uint64_t n = x->seq;
  if (S().lazy && q != &S().legacy) {
    q->q.emplace_back(++S().seq, [src, n] {
      if (src == &S().legacy || S().streams.count(src)) drain(src, n);
    });
    return cudaSuccess;
  }
  ev_drain(x);
  return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode) {
  LOCK;
  Stream* q = st(s);
  if (q == &S().legacy || q->cap) return ret(cudaErrorStreamCaptureUnsupported);
  q->cap = std::make_shared<Graph>();
  q->origin = true;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t* g) {
  LOCK;
  Stream* q = st(s);
  if (!q->cap) return ret(cudaErrorIllegalState);
  auto c = q->cap;
  for (Stream* x : S().streams)
    if (x->cap == c) {
      x->cap.reset();
      x->origin = false;
    }
  *g = (cudaGraph_t) new Graph(*c);
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t s, cudaStreamCaptureStatus* o) {
  LOCK;
  *o = st(s)->cap ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* e, cudaGraph_t g, unsigned long long) {
  *e = (cudaGraphExec_t) new Graph(*(Graph*)g);
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t s) {
  LOCK;
  auto ops = ((Graph*)e)->ops;
  return submit(s, [ops] {
    for (auto& o : ops) o();
  });
}
cudaError_t cudaGraphDestroy(cudaGraph_t g) {
  delete (Graph*)g;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t g) {
  delete (Graph*)g;
  return cudaSuccess;
}

// ---- devices
cudaError_t cudaGetDeviceCount(int* n) {
  *n = S().devices;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int d) {
  if (d < 0 || d >= S().devices) return ret(cudaErrorInvalidDevice);
  t_dev = d;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* d) {
  *d = t_dev;
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
  LOCK;
  drain_all();
  return ret(S().sticky);
}
cudaError_t cudaDeviceReset() {
  LOCK;
  drain_all();
  return cudaSuccess;
}
cudaError_t cudaSetDeviceFlags(unsigned) { return cudaSuccess; }
cudaError_t cudaInitDevice(int, unsigned, unsigned) { return cudaSuccess; }
cudaError_t cudaDeviceCanAccessPeer(int* a, int x, int y) {
  *a = x != y;
  return cudaSuccess;
}
cudaError_t cudaDeviceEnablePeerAccess(int, unsigned) { return cudaSuccess; }
cudaError_t cudaDeviceSetLimit(cudaLimit, size_t) { return cudaSuccess; }
cudaError_t cudaDeviceGetPCIBusId(char* b, int n, int d) {
  snprintf(b, (size_t)n, "0000:%02x:00.0", d + 1);
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* v) {
  *v = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* v) {
  *v = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int d) {
  if (d < 0 || d >= S().devices) return ret(cudaErrorInvalidDevice);
  memset(p, 0, sizeof *p);
  snprintf(p->name, sizeof p->name, "ptxrun sm_%d%d", S().major, S().minor);
  p->major = S().major;
  p->minor = S().minor;
  p->totalGlobalMem = (size_t)16 << 30;
  p->sharedMemPerBlock = 48 * 1024;
  p->sharedMemPerBlockOptin = S().R.options().smem_limit;
  p->sharedMemPerMultiprocessor = 228 * 1024;
  p->reservedSharedMemPerBlock = 1024;
  p->regsPerBlock = p->regsPerMultiprocessor = 65536;
  p->warpSize = 32;
  p->maxThreadsPerBlock = 1024;
  p->maxThreadsPerMultiProcessor = 2048;
  p->maxBlocksPerMultiProcessor = 32;
  p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
  p->maxThreadsDim[2] = 64;
  p->maxGridSize[0] = 2147483647;
  p->maxGridSize[1] = p->maxGridSize[2] = 65535;
  p->multiProcessorCount = 132;
  p->l2CacheSize = 50 << 20;
  p->memoryBusWidth = 5120;
  p->memPitch = 2147483647;
  p->totalConstMem = 65536;
  p->textureAlignment = 512;
  p->concurrentKernels = 1;
  p->unifiedAddressing = 1;
  p->managedMemory = 1;
  p->concurrentManagedAccess = 1;
  p->canMapHostMemory = 1;
  p->cooperativeLaunch = 1;
  p->asyncEngineCount = 2;
  p->pciBusID = d + 1;
  p->streamPrioritiesSupported = 1;
  p->memoryPoolsSupported = 1;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* v, cudaDeviceAttr a, int d) {
  cudaDeviceProp p;
  cudaError_t e = cudaGetDeviceProperties(&p, d);
  if (e) return e;
  switch (a) {
    case cudaDevAttrMaxThreadsPerBlock: *v = 1024; break;
    case cudaDevAttrMaxBlockDimX:
    case cudaDevAttrMaxBlockDimY: *v = 1024; break;
    case cudaDevAttrMaxBlockDimZ: *v = 64; break;
    case cudaDevAttrMaxGridDimX: *v = 2147483647; break;
    case cudaDevAttrMaxGridDimY:
    case cudaDevAttrMaxGridDimZ: *v = 65535; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *v = 48 * 1024; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *v = (int)p.sharedMemPerBlockOptin; break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *v = 228 * 1024; break;
    case cudaDevAttrReservedSharedMemoryPerBlock: *v = 1024; break;
    case cudaDevAttrWarpSize: *v = 32; break;
    case cudaDevAttrMultiProcessorCount: *v = 132; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *v = 2048; break;
    case cudaDevAttrMaxBlocksPerMultiprocessor: *v = 32; break;
    case cudaDevAttrComputeCapabilityMajor: *v = p.major; break;
    case cudaDevAttrComputeCapabilityMinor: *v = p.minor; break;
    case cudaDevAttrMaxRegistersPerBlock:
    case cudaDevAttrMaxRegistersPerMultiprocessor: *v = 65536; break;
    case cudaDevAttrL2CacheSize: *v = p.l2CacheSize; break;
    case cudaDevAttrCooperativeLaunch:
    case cudaDevAttrUnifiedAddressing:
    case cudaDevAttrManagedMemory:
    case cudaDevAttrConcurrentManagedAccess:
    case cudaDevAttrConcurrentKernels:
    case cudaDevAttrCanMapHostMemory:
    case cudaDevAttrMemoryPoolsSupported: *v = 1; break;
    case cudaDevAttrAsyncEngineCount: *v = 2; break;
    case cudaDevAttrClockRate: *v = 1500000; break;
    default: *v = 0;
  }
  return cudaSuccess;
}

// ---- errors
cudaError_t cudaGetLastError() {
  cudaError_t e = t_last;
  t_last = S().sticky;
  return e;
}
cudaError_t cudaPeekAtLastError() { return t_last; }
#define NAMES(X)                                                                                             \
  X(cudaSuccess, "no error")                                                                                 \
  X(cudaErrorInvalidValue, "invalid argument") X(cudaErrorMemoryAllocation, "out of memory") X(              \
      cudaErrorInvalidConfiguration, "invalid configuration argument") X(cudaErrorInvalidDeviceFunction,     \
                                                                         "invalid device function")          \
      X(cudaErrorInvalidSymbol, "invalid device symbol") X(cudaErrorInvalidDevice, "invalid device ordinal") \
          X(cudaErrorInvalidKernelImage, "device kernel image is invalid")                                   \
              X(cudaErrorIllegalAddress, "an illegal memory access was encountered")                         \
                  X(cudaErrorMisalignedAddress, "misaligned address")                                        \
                      X(cudaErrorLaunchFailure, "unspecified launch failure")                                \
                          X(cudaErrorAssert, "device-side assert triggered")                                 \
                              X(cudaErrorNotReady, "device not ready")                                       \
                                  X(cudaErrorNotSupported, "operation not supported") X(                     \
                                      cudaErrorStreamCaptureUnsupported,                                     \
                                      "operation not permitted when stream is capturing")                    \
                                      X(cudaErrorIllegalState,                                               \
                                        "the operation cannot be performed in the present state")            \
                                          X(cudaErrorInsufficientDriver,                                     \
                                            "CUDA driver version is insufficient for CUDA runtime version")  \
                                              X(cudaErrorNoDevice, "no CUDA-capable device is detected")
const char* cudaGetErrorName(cudaError_t e) {
#define X(a, b) \
  case a: return #a;
  switch (e) { NAMES(X) default : return "cudaErrorUnknown"; }
#undef X
}
const char* cudaGetErrorString(cudaError_t e) {
#define X(a, b) \
  case a: return b;
  switch (e) { NAMES(X) default : return "unknown error"; }
#undef X
}
// driver entry points: the tensor map encoder is all there is
static int enc_tiled(void* map, int dt, unsigned rank, void* a, const uint64_t* dims, const uint64_t* str,
                     const uint32_t* box, const uint32_t* es, int il, int sw, int, int oob) {
  return encode_tiled(map, dt, rank, (uint64_t)a, dims, str, box, es, il, sw, oob) ? 0 : 1;
}
cudaError_t cudaGetDriverEntryPointByVersion(const char* sym, void** f, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* r) {
  bool ok = !strcmp(sym, "cuTensorMapEncodeTiled");
  *f = ok ? (void*)enc_tiled : nullptr;
  if (r) *r = ok ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return ok ? cudaSuccess : ret(cudaErrorSymbolNotFound);
}
cudaError_t cudaGetDriverEntryPoint(const char* sym, void** f, unsigned long long fl,
                                    cudaDriverEntryPointQueryResult* r) {
  return cudaGetDriverEntryPointByVersion(sym, f, CUDART_VERSION, fl, r);
}
cudaError_t cudaProfilerStart() { return cudaSuccess; }
cudaError_t cudaProfilerStop() { return cudaSuccess; }

// ---- for tests: number of findings so far, and clearing them
size_t ptxrun_findings() {
  LOCK;
  return S().R.findings().size();
}
void ptxrun_clear() {
  LOCK;
  S().R.clear_findings();
  S().shown = 0;
  S().sticky = cudaSuccess;
  t_last = cudaSuccess;
}
}
