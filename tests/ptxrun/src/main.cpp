// ptxrun command line: runs a job file (see ../README.md).
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <random>
#include <sstream>

#include "num.h"
#include "ptxrun.h"

using namespace ptxrun;

namespace {
struct Buf {
  uint64_t addr;
  size_t bytes;
  Access acc;
};
std::string g_dir;
std::string path(const std::string& p) {
  return p.empty() || p[0] == '/' || g_dir.empty() ? p : g_dir + "/" + p;
}
std::vector<uint8_t> slurp(const std::string& p) {
  std::ifstream f(path(p), std::ios::binary);
  if (!f) throw Error("file", "cannot read " + p);
  return std::vector<uint8_t>((std::istreambuf_iterator<char>(f)), {});
}
size_t tsize(const std::string& t) {
  static const std::map<std::string, size_t> m = {
      {"u8", 1},  {"i8", 1},  {"u16", 2}, {"i16", 2}, {"f16", 2}, {"bf16", 2}, {"u32", 4},
      {"i32", 4}, {"f32", 4}, {"u64", 8}, {"i64", 8}, {"f64", 8}, {"e4m3", 1}, {"e5m2", 1}};
  auto it = m.find(t);
  if (it == m.end()) throw Error("job", "unknown type " + t);
  return it->second;
}
double load(const std::string& t, const uint8_t* p) {
  auto g = [&](auto x) {
    memcpy(&x, p, sizeof x);
    return x;
  };
  if (t == "u8") return g(uint8_t());
  if (t == "i8") return g(int8_t());
  if (t == "u16") return g(uint16_t());
  if (t == "i16") return g(int16_t());
  if (t == "u32") return g(uint32_t());
  if (t == "i32") return g(int32_t());
  if (t == "u64") return (double)g(uint64_t());
  if (t == "i64") return (double)g(int64_t());
  if (t == "f32") return g(float());
  if (t == "f64") return g(double());
  if (t == "f16") return h2f(g(uint16_t()));
  if (t == "bf16") return bf2f(g(uint16_t()));
  if (t == "e4m3") return e4m3_f(*p);
  return e5m2_f(*p);
}
void store(const std::string& t, uint8_t* p, double v, const std::string& txt = "") {
  auto s = [&](auto x) { memcpy(p, &x, sizeof x); };
  auto i = [&] { return txt.empty() ? (int64_t)v : (int64_t)strtoll(txt.c_str(), nullptr, 0); };
  auto u = [&] { return txt.empty() ? (uint64_t)v : (uint64_t)strtoull(txt.c_str(), nullptr, 0); };
  if (t == "u8" || t == "u16" || t == "u32" || t == "u64") {
    uint64_t x = u();
    memcpy(p, &x, tsize(t));
  } else if (t[0] == 'i') {
    int64_t x = i();
    memcpy(p, &x, tsize(t));
  } else if (t == "f32")
    s((float)v);
  else if (t == "f64")
    s(v);
  else if (t == "f16")
    s((uint16_t)f2h(v));
  else if (t == "bf16")
    s((uint16_t)f2bf((float)v));
  else if (t == "e4m3")
    *p = (uint8_t)f_e4m3(v);
  else
    *p = (uint8_t)f_e5m2(v);
}
}  // namespace

int main(int argc, char** argv) {
  std::string job, list;
  bool quiet = false;
  for (int i = 1; i < argc; i++) {
    std::string a = argv[i];
    if (a == "--list" && i + 1 < argc)
      list = argv[++i];
    else if (a == "-q")
      quiet = true;
    else if (a == "-h" || a == "--help") {
      puts("usage: ptxrun [-q] JOBFILE | ptxrun --list FILE.ptx\nThe job format is described in README.md.");
      return 0;
    } else
      job = a;
  }
  int bad = 0;
  size_t line = 0;
  try {
    if (!list.empty()) {
      Runtime r;
      r.load_file(list);
      int fails = 0;
      for (auto& k : r.kernels()) {
        try {
          KernelInfo i = r.info(k);
          printf("%s: %u instructions, %u parameter bytes, %u static shared, %u local\n", k.c_str(), i.insts,
                 i.param_bytes, i.static_shared, i.local_bytes);
          for (auto& p : i.params)
            printf("    +%u: %u bytes (align %u)  %s\n", p.offset, p.size, p.align, p.name.c_str());
        } catch (Error& e) {
          printf("%s: %s\n", k.c_str(), e.what());
          fails++;
        }
      }
      return fails ? 2 : 0;
    }
    if (job.empty()) {
      fprintf(stderr, "usage: ptxrun [-q] JOBFILE | ptxrun --list FILE.ptx\n");
      return 64;
    }
    std::ifstream f(job);
    if (!f) throw Error("file", "cannot read " + job);
    size_t sl = job.rfind('/');
    if (sl != std::string::npos) g_dir = job.substr(0, sl);
    Runtime R;
    std::map<std::string, Buf> bufs;
    std::string kernel;
    Dim3 grid, block;
    uint32_t dyn = 0;
    Args args;
    auto buf = [&](const std::string& n) -> Buf& {
      auto it = bufs.find(n);
      if (it == bufs.end()) throw Error("job", "unknown buffer " + n);
      return it->second;
    };
    std::string l;
    while (std::getline(f, l)) {
      line++;
      size_t h = l.find('#');
      if (h != std::string::npos) l.resize(h);
      std::istringstream s(l);
      std::string w;
      if (!(s >> w)) continue;
      auto next = [&](const char* what) {
        std::string x;
        if (!(s >> x)) throw Error("job", std::string("missing ") + what);
        return x;
      };
      auto num = [&](const std::string& x) { return strtoull(x.c_str(), nullptr, 0); };
      if (w == "ptx")
        R.load_file(path(next("file")));
      else if (w == "option") {
        std::string k = next("name"), v = next("value");
        bool b = v == "on" || v == "1" || v == "true";
        Options& o = R.options();
        auto ord = [&] {
          return v == "reverse" ? Order::Reverse : v == "shuffle" ? Order::Shuffle : Order::Forward;
        };
        if (k == "race_shared")
          o.race_shared = b;
        else if (k == "race_global")
          o.race_global = b;
        else if (k == "init_shared")
          o.init_shared = b;
        else if (k == "init_global")
          o.init_global = b;
        else if (k == "shfl_inactive")
          o.shfl_inactive = b;
        else if (k == "approx_noise")
          o.approx_noise = b;
        else if (k == "block_order")
          o.block_order = ord();
        else if (k == "warp_order")
          o.warp_order = ord();
        else if (k == "seed")
          o.seed = num(v);
        else if (k == "resident_blocks")
          o.resident_blocks = (unsigned)num(v);
        else if (k == "max_warp_insts")
          o.max_warp_insts = num(v);
        else if (k == "quantum")
          o.quantum = (uint32_t)num(v);
        else if (k == "smem_limit")
          o.smem_limit = (uint32_t)num(v);
        else if (k == "trace_block")
          o.trace_block = (int64_t)num(v);
        else if (k == "trace_warp")
          o.trace_warp = (int64_t)num(v);
        else
          throw Error("job", "unknown option " + k);
      } else if (w == "buffer") {  // buffer NAME in|out|inout  file F | bytes N [fill B] | rand TYPE COUNT LO
                                   // HI SEED | values TYPE v...
        std::string n = next("name"), a = next("access"), k = next("source");
        Access acc = a == "in"      ? Access::In
                     : a == "out"   ? Access::Out
                     : a == "inout" ? Access::InOut
                                    : throw Error("job", "access is in, out or inout");
        std::vector<uint8_t> d;
        bool have = true;
        if (k == "file")
          d = slurp(next("file"));
        else if (k == "bytes") {
          d.resize(num(next("size")));
          std::string q;
          if (s >> q) {
            if (q != "fill") throw Error("job", "expected fill");
            memset(d.data(), (int)num(next("byte")), d.size());
          } else
            have = acc != Access::Out;
        } else if (k == "rand") {
          std::string t = next("type");
          size_t c = num(next("count")), z = tsize(t);
          double lo = strtod(next("low").c_str(), nullptr), hi = strtod(next("high").c_str(), nullptr);
          std::mt19937_64 g(num(next("seed")));
          d.resize(c * z);
          for (size_t i = 0; i < c; i++)
            store(t, &d[i * z], lo + (hi - lo) * ((double)(g() >> 11) * 0x1p-53));
        } else if (k == "values") {
          std::string t = next("type"), v;
          size_t z = tsize(t);
          while (s >> v) {
            d.resize(d.size() + z);
            store(t, &d[d.size() - z], strtod(v.c_str(), nullptr), v);
          }
        } else
          throw Error("job", "unknown buffer source " + k);
        uint64_t ad = R.alloc(d.size(), n, acc);
        if (have) R.upload(ad, d.data(), d.size());
        bufs[n] = {ad, d.size(), acc};
      } else if (w == "symbol") {  // symbol NAME file F | values TYPE v...
        std::string n = next("name"), k = next("source");
        size_t z = 0;
        uint64_t a = R.symbol(n, &z);
        if (!a) throw Error("job", "no module variable " + n);
        std::vector<uint8_t> d;
        if (k == "file")
          d = slurp(next("file"));
        else {
          std::string t = next("type"), v;
          size_t q = tsize(t);
          while (s >> v) {
            d.resize(d.size() + q);
            store(t, &d[d.size() - q], strtod(v.c_str(), nullptr), v);
          }
        }
        R.upload(a, d.data(), d.size());
      } else if (w == "kernel") {
        kernel = R.find_kernel(next("name"));
        args = Args();
        dyn = 0;
        grid = block = Dim3();
      } else if (w == "grid" || w == "block") {
        Dim3 d;
        std::string v;
        uint32_t* p[3] = {&d.x, &d.y, &d.z};
        for (int i = 0; i < 3 && s >> v; i++) *p[i] = (uint32_t)num(v);
        (w == "grid" ? grid : block) = d;
      } else if (w == "shared")
        dyn = (uint32_t)num(next("bytes"));
      else if (w == "arg") {
        std::string k = next("kind");
        if (k == "buffer") {
          Buf& b = buf(next("name"));
          std::string o;
          uint64_t off = 0;
          if (s >> o) off = (uint64_t)strtoll(o.c_str(), nullptr, 0);
          args.add<uint64_t>(b.addr + off);
        } else if (k == "null")
          args.add<uint64_t>(0);
        else if (k == "file") {
          auto d = slurp(next("file"));
          args.raw(d.data(), d.size());
        } else if (k == "struct") {  // struct BYTES {OFFSET TYPE VALUE | OFFSET buffer NAME}...
          std::vector<uint8_t> d(num(next("size")), 0);
          std::string o;
          while (s >> o) {
            size_t off = num(o);
            std::string t = next("type"), v = next("value");
            if (t == "buffer") {
              uint64_t a = buf(v).addr;
              if (off + 8 > d.size()) throw Error("job", "struct offset");
              memcpy(&d[off], &a, 8);
            } else {
              if (off + tsize(t) > d.size()) throw Error("job", "struct offset");
              store(t, &d[off], strtod(v.c_str(), nullptr), v);
            }
          }
          args.raw(d.data(), d.size());
        } else {
          uint8_t t[8];
          std::string v = next("value");
          store(k, t, strtod(v.c_str(), nullptr), k[0] == 'f' || k == "bf16" || k[0] == 'e' ? "" : v);
          args.raw(t, tsize(k));
        }
      } else if (w == "launch") {
        Stats st = R.launch(kernel, grid, block, dyn, args);
        if (!quiet)
          printf(
              "%s: %llu blocks, %llu warp instructions, %llu thread instructions, %llu mma, %.3f s, %.1f M "
              "thread instructions/s\n",
              kernel.c_str(), (unsigned long long)st.blocks, (unsigned long long)st.warp_insts,
              (unsigned long long)st.thread_insts, (unsigned long long)st.mma, st.seconds,
              st.seconds > 0 ? (double)st.thread_insts / st.seconds / 1e6 : 0.0);
      } else if (w == "dump") {
        Buf& b = buf(next("buffer"));
        std::vector<uint8_t> d(b.bytes);
        R.download(d.data(), b.addr, d.size());
        std::string fn = path(next("file"));
        std::ofstream o(fn, std::ios::binary);
        o.write((const char*)d.data(), (std::streamsize)d.size());
        if (!o) throw Error("file", "cannot write " + fn);
      } else if (w == "print") {
        Buf& b = buf(next("buffer"));
        std::string t = next("type");
        size_t c = num(next("count")), z = tsize(t);
        std::vector<uint8_t> d(b.bytes);
        R.download(d.data(), b.addr, d.size());
        for (size_t i = 0; i < c && (i + 1) * z <= d.size(); i++)
          printf("%s%.9g", i ? " " : "", load(t, &d[i * z]));
        puts("");
      } else if (w == "compare") {  // compare BUFFER FILE TYPE ATOL RTOL   or   compare BUFFER buffer OTHER
                                    // TYPE ATOL RTOL
        std::string bn = next("buffer"), k = next("file");
        Buf& b = buf(bn);
        std::vector<uint8_t> d(b.bytes), e;
        R.download(d.data(), b.addr, d.size());
        if (k == "buffer") {
          Buf& q = buf(next("other"));
          e.resize(q.bytes);
          R.download(e.data(), q.addr, e.size());
        } else
          e = slurp(k);
        std::string t = next("type"), et = t;
        size_t c = t.find(':');  // TYPE:FILETYPE
        if (c != std::string::npos) {
          et = t.substr(c + 1);
          t = t.substr(0, c);
        }
        double at = strtod(next("atol").c_str(), nullptr), rt = strtod(next("rtol").c_str(), nullptr);
        size_t z = tsize(t), ez = tsize(et), n = d.size() / z, nbad = 0, first = 0;
        if (e.size() / ez != n)
          throw Error("job", "compare: " + std::to_string(n) + " against " + std::to_string(e.size() / ez) +
                                 " elements");
        double mx = 0, mrel = 0;
        for (size_t i = 0; i < n; i++) {
          double x = load(t, &d[i * z]), y = load(et, &e[i * ez]), df = std::fabs(x - y);
          bool same = x == y || (std::isnan(x) && std::isnan(y));
          if (!same && !(df <= at + rt * std::fabs(y))) {
            if (!nbad) first = i;
            nbad++;
          }
          if (!same && df == df) {
            mx = std::max(mx, df);
            if (y != 0) mrel = std::max(mrel, df / std::fabs(y));
          }
        }
        printf("compare %s: %zu elements, max abs diff %.3g, max rel diff %.3g: %s", bn.c_str(), n, mx, mrel,
               nbad ? "" : "ok\n");
        if (nbad) {
          printf("%zu DIFFER, first at %zu: got %.9g, expected %.9g\n", nbad, first, load(t, &d[first * z]),
                 load(et, &e[first * ez]));
          bad = 1;
        }
      } else
        throw Error("job", "unknown word " + w);
    }
    if (!R.findings().empty()) {
      fprintf(stderr, "%s", R.report().c_str());
      fprintf(stderr, "%zu findings\n", R.findings().size());
      bad |= 2;
    }
  } catch (Error& e) {
    fflush(stdout);
    if (line)
      fprintf(stderr, "%s:%zu: %s\n", job.c_str(), line, e.what());
    else
      fprintf(stderr, "%s\n", e.what());
    return e.kind == "job" || e.kind == "file" || e.kind == "parse" || e.kind == "kernel" ? 64
           : e.kind == "unsupported"                                                      ? 65
                                                                                          : 4;
  }
  return bad;
}
