// Runs the kernels of kernels.cu through ptxrun and compares with float64 references on the host.
#include <cmath>
#include <functional>
#include <random>

#include "tests/ptxrun/src/num.h"
#include "tests/ptxrun/src/ptxrun.h"

using namespace ptxrun;
typedef std::vector<float> VF;
static int npass = 0, nfail = 0;
static std::mt19937_64 rng(7);
static float rnd(float lo, float hi) { return lo + (hi - lo) * (float)((double)(rng() >> 11) * 0x1p-53); }
static VF rv(size_t n, float lo, float hi) {
  VF v(n);
  for (auto& x : v) x = rnd(lo, hi);
  return v;
}
static std::vector<uint16_t> bf(VF& v) {
  std::vector<uint16_t> r;
  for (auto& x : v) {
    r.push_back((uint16_t)f2bf(x));
    x = bf2f(r.back());
  }
  return r;
}
template <class T>
static uint64_t up(Runtime& R, const std::vector<T>& v, const char* n, Access a = Access::In) {
  uint64_t p = R.alloc(v.size() * sizeof(T), n, a);
  R.upload(p, v.data(), v.size() * sizeof(T));
  return p;
}
template <class T>
static std::vector<T> down(Runtime& R, uint64_t p, size_t n) {
  std::vector<T> v(n);
  R.download(v.data(), p, n * sizeof(T));
  return v;
}
static void result(const std::string& n, bool ok, const std::string& info = "") {
  printf("%-44s %s %s\n", n.c_str(), ok ? "ok  " : "FAIL", info.c_str());
  (ok ? npass : nfail)++;
}
static std::string perf(const Stats& s) {
  char b[160];
  snprintf(b, sizeof b, "%.2f M thread insts, %llu mma, %.3f s, %.0f M/s", s.thread_insts / 1e6,
           (unsigned long long)s.mma, s.seconds, s.thread_insts / 1e6 / s.seconds);
  return b;
}
static double maxerr(const std::function<double(size_t)>& got, const std::function<double(size_t)>& want,
                     size_t n, double at, double rt, bool& ok) {
  double m = 0;
  ok = true;
  for (size_t i = 0; i < n; i++) {
    double g = got(i), w = want(i), d = std::fabs(g - w);
    if (g == w || (std::isnan(g) && std::isnan(w))) continue;
    if (!(d <= at + rt * std::fabs(w))) {
      if (ok) printf("   first difference at %zu: %.9g, expected %.9g\n", i, g, w);
      ok = false;
    }
    m = std::max(m, d);
  }
  return m;
}
static void clean(Runtime& R, const std::string& n) {
  if (!R.findings().empty()) {
    printf("%s", R.report().c_str());
    result(n + " findings", false);
    R.clear_findings();
  }
}

int main(int argc, char** argv) {
  std::string ptx = argc > 1 ? argv[1] : "kernels.ptx";
  setvbuf(stdout, nullptr, _IOLBF, 0);
  Options opt;
  if (getenv("PTXRUN_NOCHECK")) opt.race_shared = opt.race_global = opt.init_shared = opt.init_global = false;
  if (getenv("PTXRUN_NOISE")) opt.approx_noise = true;
  if (getenv("PTXRUN_REVERSE")) {
    opt.block_order = Order::Reverse;
    opt.warp_order = Order::Reverse;
  }
  Runtime R(opt);
  R.load_file(ptx);
  bool ok;
  char t[200];
  {
    int n = 100000;
    VF x = rv(n, -2, 2), y = rv(n, -2, 2);
    uint64_t dx = up(R, x, "x"), dy = up(R, y, "y", Access::InOut);
    Stats s = R.launch("saxpy", (n + 255) / 256, 256, 0, Args().add(2.5f).add(dx).add(dy).add(n));
    VF g = down<float>(R, dy, n);
    maxerr([&](size_t i) { return g[i]; },
           [&](size_t i) { return std::fma(2.5, (double)x[i], (double)y[i]); }, n, 1e-6, 1e-6, ok);
    result("saxpy", ok, perf(s));
    clean(R, "saxpy");
  }
  {
    int n = 100003;
    VF x = rv(n, -1, 1);
    uint64_t dx = up(R, x, "x"), o = R.alloc(4, "out");
    Stats s = R.launch("block_sum", 13, 256, 0, Args().add(dx).add(o).add(n));
    double w = 0;
    for (float v : x) w += v;
    float g = down<float>(R, o, 1)[0];
    result("block_sum", std::fabs(g - w) < 2e-2, perf(s));
    clean(R, "block_sum");
  }
  {
    int rows = 7, cols = 1000;
    VF x = rv(rows * cols, -8, 8);
    uint64_t dx = up(R, x, "x"), dy = R.alloc(x.size() * 4, "y", Access::Out);
    Stats s = R.launch("softmax_rows", rows, 128, 0, Args().add(dx).add(dy).add(cols));
    VF g = down<float>(R, dy, x.size());
    std::vector<double> w(x.size());
    for (int r = 0; r < rows; r++) {
      double m = -1e30, q = 0;
      for (int c = 0; c < cols; c++) m = std::max(m, (double)x[r * cols + c]);
      for (int c = 0; c < cols; c++) q += std::exp(x[r * cols + c] - m);
      for (int c = 0; c < cols; c++) w[r * cols + c] = std::exp(x[r * cols + c] - m) / q;
    }
    double e =
        maxerr([&](size_t i) { return g[i]; }, [&](size_t i) { return w[i]; }, g.size(), 1e-7, 1e-5, ok);
    snprintf(t, sizeof t, "max err %.2g; ", e);
    result("softmax_rows", ok, t + perf(s));
    clean(R, "softmax");
  }
  {
    int rows = 6, H = 768;
    float eps = 1e-5f;
    VF x = rv(rows * H, -2, 2), w = rv(H, 0.5, 1.5), dy = rv(rows * H, -1, 1);
    auto bx = bf(x), bw = bf(w), bdy = bf(dy);
    uint64_t px = up(R, bx, "x"), pw = up(R, bw, "w"), pdy = up(R, bdy, "dy"),
             py = R.alloc(bx.size() * 2, "y", Access::Out), pr = R.alloc(rows * 4, "rstd", Access::Out),
             pdx = R.alloc(bx.size() * 2, "dx", Access::Out), pdw = R.alloc(H * 4, "dw");
    Stats s = R.launch("rmsnorm_fwd", rows, 128, 0, Args().add(px).add(pw).add(py).add(pr).add(H).add(eps));
    auto y = down<uint16_t>(R, py, bx.size());
    std::vector<double> rs(rows), wy(bx.size()), wdx(bx.size()), wdw(H);
    for (int r = 0; r < rows; r++) {
      double q = 0, c = 0;
      for (int i = 0; i < H; i++) q += (double)x[r * H + i] * x[r * H + i];
      rs[r] = 1 / std::sqrt(q / H + eps);
      for (int i = 0; i < H; i++) {
        wy[r * H + i] = x[r * H + i] * rs[r] * w[i];
        c += (double)dy[r * H + i] * w[i] * x[r * H + i];
      }
      for (int i = 0; i < H; i++) {
        wdx[r * H + i] = dy[r * H + i] * w[i] * rs[r] - c * rs[r] * rs[r] * rs[r] / H * x[r * H + i];
        wdw[i] += dy[r * H + i] * x[r * H + i] * rs[r];
      }
    }
    maxerr([&](size_t i) { return bf2f(y[i]); }, [&](size_t i) { return wy[i]; }, y.size(), 1e-3, 4e-3, ok);
    result("rmsnorm_fwd bf16", ok, perf(s));
    s = R.launch("rmsnorm_bwd", rows, 128, 0,
                 Args().add(px).add(pw).add(pdy).add(pr).add(pdx).add(pdw).add(H));
    auto dx = down<uint16_t>(R, pdx, bx.size());
    VF dw = down<float>(R, pdw, H);
    maxerr([&](size_t i) { return bf2f(dx[i]); }, [&](size_t i) { return wdx[i]; }, dx.size(), 2e-3, 4e-3,
           ok);
    result("rmsnorm_bwd dx", ok, perf(s));
    maxerr([&](size_t i) { return dw[i]; }, [&](size_t i) { return wdw[i]; }, dw.size(), 1e-4, 1e-4, ok);
    result("rmsnorm_bwd dw", ok);
    clean(R, "rmsnorm");
  }
  for (int pass = 0; pass < 2; pass++) {
    int M = 136, N = 120, K = 200;
    VF a = rv(M * K, -1, 1), b = rv(K * N, -1, 1);
    auto ba = bf(a), bb = bf(b);
    uint64_t pa = up(R, ba, "A"), pb = up(R, bb, "B"), pc = R.alloc(M * N * 4, "C", Access::Out);
    Stats s = R.launch(pass ? "gemm_bf16_race" : "gemm_bf16", Dim3((N + 63) / 64, (M + 63) / 64), 128, 0,
                       Args().add(pa).add(pb).add(pc).add(M).add(N).add(K));
    if (pass) {
      std::string r = R.report();
      result("gemm with a missing barrier is reported",
             r.find("race") != std::string::npos || opt.race_shared == false, r.substr(0, 420));
      R.clear_findings();
      continue;
    }
    VF c = down<float>(R, pc, M * N);
    std::vector<double> w(M * N);
    for (int i = 0; i < M; i++)
      for (int k = 0; k < K; k++)
        for (int j = 0; j < N; j++) w[i * N + j] += (double)a[i * K + k] * b[k * N + j];
    double e =
        maxerr([&](size_t i) { return c[i]; }, [&](size_t i) { return w[i]; }, c.size(), 1e-4, 1e-5, ok);
    snprintf(t, sizeof t, "max err %.2g; ", e);
    result("gemm bf16 mma ldmatrix cp.async", ok, t + perf(s));
    clean(R, "gemm");
  }
  {
    int n = 50000;
    std::vector<uint8_t> x(n);
    for (auto& v : x) v = (uint8_t)(rng() % 200);
    uint64_t px = up(R, x, "x"), ph = R.alloc(1024, "h");
    Stats s = R.launch("hist", 5, 256, 0, Args().add(px).add(ph).add(n));
    auto h = down<uint32_t>(R, ph, 256);
    std::vector<uint32_t> w(256);
    for (auto v : x) w[v]++;
    result("histogram", h == w, perf(s));
    clean(R, "hist");
  }
  for (int causal = 0; causal < 2; causal++) {
    int Hq = 4, Hkv = 2, Sq = 100, Sk = 150, D = 64, qoff = causal ? 40 : 0, koff = 0;
    float sc = 0.125f;
    VF q = rv(Hq * Sq * D, -2, 2), k = rv(Hkv * Sk * D, -2, 2), v = rv(Hkv * Sk * D, -2, 2);
    auto bq = bf(q), bk = bf(k), bv = bf(v);
    uint64_t pq = up(R, bq, "Q"), pk = up(R, bk, "K"), pv = up(R, bv, "V"),
             po = R.alloc(q.size() * 4, "O", Access::Out), pl = R.alloc(Hq * Sq * 4, "LSE", Access::Out);
    Stats s = R.launch("flash_fwd", Dim3((Sq + 63) / 64, Hq), 128, 3 * 64 * 72 * 2,
                       Args()
                           .add(pq)
                           .add(pk)
                           .add(pv)
                           .add(po)
                           .add(pl)
                           .add(Hq)
                           .add(Hkv)
                           .add(Sq)
                           .add(Sk)
                           .add(qoff)
                           .add(koff)
                           .add(sc)
                           .add(causal));
    VF o = down<float>(R, po, q.size()), ls = down<float>(R, pl, Hq * Sq);
    std::vector<double> wo(q.size()), wl(Hq * Sq);
    for (int h = 0; h < Hq; h++)
      for (int i = 0; i < Sq; i++) {
        std::vector<double> p(Sk, -INFINITY);
        double m = -INFINITY, z = 0;
        int hk = h / (Hq / Hkv);
        for (int j = 0; j < Sk; j++)
          if (!causal || j + koff <= i + qoff) {
            double d = 0;
            for (int e = 0; e < D; e++) d += (double)q[(h * Sq + i) * D + e] * k[(hk * Sk + j) * D + e];
            p[j] = d * sc;
            m = std::max(m, p[j]);
          }
        for (int j = 0; j < Sk; j++) z += std::exp(p[j] - m);
        for (int j = 0; j < Sk; j++)
          for (int e = 0; e < D; e++)
            wo[(h * Sq + i) * D + e] += std::exp(p[j] - m) / z * v[(hk * Sk + j) * D + e];
        wl[h * Sq + i] = m + std::log(z);
      }
    double e =
        maxerr([&](size_t i) { return o[i]; }, [&](size_t i) { return wo[i]; }, o.size(), 1e-2, 1e-2, ok);
    bool ok2;
    double e2 =
        maxerr([&](size_t i) { return ls[i]; }, [&](size_t i) { return wl[i]; }, ls.size(), 1e-4, 1e-5, ok2);
    snprintf(t, sizeof t, "O err %.2g, LSE err %.2g; ", e, e2);
    result(causal ? "flash forward causal offset GQA" : "flash forward full GQA", ok && ok2, t + perf(s));
    clean(R, "flash");
  }
  {
    VF a = rv(16 * 8, -1, 1), b = rv(64, -1, 1);
    uint64_t pa = up(R, a, "A"), pb = up(R, b, "B"), pc = R.alloc(16 * 8 * 4, "C", Access::Out);
    R.launch("mma_tf32", 1, 32, 0, Args().add(pa).add(pb).add(pc));
    VF c = down<float>(R, pc, 128);
    maxerr([&](size_t i) { return c[i]; },
           [&](size_t i) {
             double s = 0;
             for (int k = 0; k < 8; k++) s += (double)a[i / 8 * 8 + k] * b[k * 8 + i % 8];
             return s;
           },
           128, 4e-3, 0, ok);
    result("mma tf32", ok);
    clean(R, "tf32");
  }
  {
    struct P {
      float a;
      int n;
      double d;
      long long p[3];
    } p = {0.5f, 3, 1.25, {1, 2, 3}};
    int n = 200;
    VF x = rv(n, -1.5, 1.5), tab = {1, 2, 3, 4, 5, 6, 7, 8};
    x[7] = 0.f;
    uint64_t px = up(R, x, "x"), py = R.alloc(n * 4, "y", Access::Out);
    R.upload(R.symbol("ctab"), tab.data(), 32);
    Stats s = R.launch("misc", 2, 128, 0, Args().add(px).add(py).add(n).add(p));
    VF g = down<float>(R, py, n);
    std::vector<double> w(n);
    for (int i = 0; i < n; i++) {
      float x0 = x[i];
      double v = x0, v0 = x0;
      int sel = (int)(x0 * 1000.f) % 7;
      if (sel < 0) sel = -sel;
      switch (i % 6) {
        case 0: {
          int k = i % 5;
          if (k) {
            v = 0;
            for (int j = 0; j < k; j++) v += std::sin((double)(x0 * j));
          }
          break;
        }
        case 1: v = std::pow(std::fabs(v0), 1.7); break;
        case 2: v = std::tanh(v0) + std::erf(v0); break;
        case 3: v = x0 * sel; break;
        case 4: v = std::log(std::fabs(v0) + 1e-3) + std::cos((double)(x0 * 1e3f)); break;
        default: v = p.d * v0 + p.a + tab[i & 7];
      }
      w[i] = v + std::exp(v * 0.1) + std::log1p(std::fabs(v)) + std::sqrt(std::fabs(v)) + v / 3.7 +
             std::fmod(v, 1.3) + i / p.n + (double)(((long long)i * 123456789012LL) / 97 % 1000) +
             h2f(f2h((float)v));
    }
    maxerr([&](size_t i) { return g[i]; }, [&](size_t i) { return w[i]; }, n, 4e-3, 1e-5, ok);
    int gc;
    R.download(&gc, R.symbol("gcount"), 4);
    result("misc: calls, switch, local, libdevice, printf", ok && gc == 7, perf(s));
    clean(R, "misc");
  }
  // defects must be reported
  auto expect_err = [&](const char* name, const char* k, Dim3 g, Dim3 b, const Args& a, const char* kind) {
    std::string got = "no error";
    bool hit = false;
    try {
      R.launch(k, g, b, 0, a);
    } catch (Error& e) {
      got = e.what();
      hit = e.kind == kind;
    }
    result(name, hit, got);
    R.clear_findings();
  };
  auto expect_find = [&](const char* name, const char* k, Dim3 g, Dim3 b, const Args& a, const char* kind) {
    R.clear_findings();
    R.launch(k, g, b, 0, a);
    bool hit = false;
    for (auto& f : R.findings()) hit |= f.kind == kind;
    result(name, hit, R.report());
    R.clear_findings();
  };
  uint64_t b64b = R.alloc(64 * 4, "small");
  expect_err("out of bounds store", "bad_oob", 2, 32, Args().add(b64b).add(20), "out of bounds");
  expect_err("divergent barrier", "bad_divbar", 1, 32, Args().add(b64b), "divergence");
  if (opt.init_shared) {
    expect_find("uninitialised shared read", "bad_uninit", 1, 64, Args().add(b64b), "uninitialised");
    VF gsrc(128, 1.f);
    uint64_t pg = up(R, gsrc, "g");
    expect_find("cp.async without a wait", "bad_nowait", 1, 32, Args().add(pg).add(b64b), "async");
  }
  for (int k = 2; k < argc; k++) {
    // instruction coverage: self-checking kernels
    Runtime Q(opt);
    Q.load_file(argv[k]);
    std::string nm = argv[k];
    nm = nm.substr(nm.rfind('/') + 1) + " ";
    uint64_t pf = Q.alloc(4, "fails");
    auto run = [&](const char* kn, Dim3 g, Dim3 b, const Args& a, bool wantclean = true) {
      Q.fill(pf, 0, 4);
      Q.clear_findings();
      std::string info;
      bool good = false;
      try {
        Stats s = Q.launch(kn, g, b, 0, a);
        int f = down<int>(Q, pf, 1)[0];
        good = f == 0 && (!wantclean || Q.findings().empty());
        info = f ? std::to_string(f) + " failed checks " : perf(s);
        if (wantclean) info += Q.findings().empty() ? "" : "\n" + Q.report();
      } catch (Error& e) {
        info = e.what();
      }
      result(nm + kn, good, info);
    };
    std::vector<int> xs;
    for (int i = 0; i < 64; i++)
      xs.push_back(i < 4 ? i - 1 : i == 4 ? INT32_MAX : i == 5 ? -INT32_MAX : (int)rng());
    run("t_int", 1, 64, Args().add(pf).add(up(Q, xs, "x")));
    run("t_half", 1, 64, Args().add(pf));
    run("t_warp", 1, 64, Args().add(pf));
    run("t_block", 1, 256, Args().add(pf).add(Q.alloc(64, "g")));
    VF gs(192 * 4);
    for (size_t i = 0; i < gs.size(); i++) gs[i] = (float)i;
    run("t_async", 1, 64, Args().add(pf).add(up(Q, gs, "g")).add(Q.alloc(1024, "out", Access::Out)));
    Q.options().resident_blocks = 0;
    run("t_grid", 4, 64, Args().add(pf).add(Q.alloc(1024, "data", Access::Out)).add(256));
    Q.options().resident_blocks = 1;
    run("t_lastblock", 6, 64,
        Args()
            .add(pf)
            .add(Q.alloc(24, "part", Access::Out))
            .add(Q.alloc(4, "ctr"))
            .add(Q.alloc(4, "o", Access::Out)));
    std::vector<uint16_t> A(128), B(64);
    std::vector<int8_t> ia(512), ib(256);
    for (auto& v : A) v = (uint16_t)f2h(rnd(-1, 1));
    for (auto& v : B) v = (uint16_t)f2h(rnd(-1, 1));
    for (auto& v : ia) v = (int8_t)rng();
    for (auto& v : ib) v = (int8_t)rng();
    run("t_mma_more", 1, 32,
        Args().add(pf).add(up(Q, A, "A")).add(up(Q, B, "B")).add(up(Q, ia, "ia")).add(up(Q, ib, "ib")));
    run("t_racy_global", 3, 32, Args().add(Q.alloc(128, "x")), false);
    bool hit = false;
    for (auto& f : Q.findings()) hit |= f.kind == "race";
    if (opt.race_global) result(nm + "race between blocks is reported", hit, Q.report());
  }
  printf("%d passed, %d failed\n", npass, nfail);
  return nfail != 0;
}
