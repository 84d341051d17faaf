// PTX text -> syntax. Internal to ptxrun.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace ptxrun {

enum Ty : uint8_t {
  T_NONE,
  T_PRED,
  T_B8,
  T_B16,
  T_B32,
  T_B64,
  T_B128,
  T_U8,
  T_U16,
  T_U32,
  T_U64,
  T_S8,
  T_S16,
  T_S32,
  T_S64,
  T_F16,
  T_F16X2,
  T_BF16,
  T_BF16X2,
  T_F32,
  T_F64,
  T_TF32,
  T_E4M3,
  T_E5M2,
  T_E4M3X2,
  T_E5M2X2,
  T_F32X2,
  T_U16X2,
  T_S16X2
};
Ty ty_parse(const std::string& s);  // T_NONE if it is not a type
int ty_bytes(Ty t);
inline bool ty_signed(Ty t) { return t >= T_S8 && t <= T_S64; }
inline bool ty_isint(Ty t) { return t >= T_B8 && t <= T_S64; }
inline bool ty_isfloat(Ty t) { return t >= T_F16 && t <= T_F32X2; }

enum class Sp : uint8_t { None, Const, Global, Local, Param, Shared, Generic };

struct Opnd {
  enum K : uint8_t { REG, IMM, FIMM32, FIMM64, SYM, ADDR, VEC, SREG, SINK } k = SINK;
  int reg = -1;         // REG, or base of ADDR
  int reg2 = -1;        // second of d|p; -2 means "_"
  bool neg = false;     // !pred or -reg
  int64_t imm = 0;      // IMM value / float bits / address offset
  std::string name;     // SYM, SREG, or symbol base of ADDR
  std::vector<Opnd> v;  // VEC
};

struct Stmt {
  std::vector<std::string> op;  // opcode split at '.'
  std::string text;             // opcode as written, for messages
  int guard = -1;
  bool gneg = false;
  std::vector<Opnd> o;
  int scope = 0, line = 0;
  int file = 0, fline = 0;  // from .loc
};

struct Reg {
  std::string name;
  Ty ty;
};
struct Var {
  std::string name;
  Sp space = Sp::None;
  uint32_t align = 1;
  uint64_t size = 0;
  Ty ty = T_B8;
  bool ext = false;
  struct Init {
    bool sym = false;
    bool generic = false;
    std::string name;
    int64_t val = 0;
    uint32_t off = 0;
    uint32_t bytes = 1;
    int shift = 0;
  };
  std::vector<Init> init;
  int line = 0;
  int isreg = -1;  // .reg formal parameter: register id
};
struct Scope {
  int parent = -1;
  std::unordered_map<std::string, int> regs, vars, labels, tables;
};
struct Function {
  std::string name, file;
  bool entry = false, defined = false;
  std::vector<int> params, rets;  // indices into vars
  std::vector<Reg> regs;
  std::vector<Var> vars;
  std::vector<Scope> scopes;
  std::vector<Stmt> body;
  std::vector<int> labelpos;                     // label id -> index in body
  std::vector<std::vector<std::string>> tables;  // .branchtargets
  uint32_t maxntid[3] = {0, 0, 0}, reqntid[3] = {0, 0, 0};
  int line = 0;
  int find(int scope, const std::string& n, int what) const;  // 0 reg 1 var 2 label 3 table; -1 none
};
struct Module {
  std::string name, target, version;
  std::vector<std::unique_ptr<Function>> funcs;
  std::vector<Var> vars;
  std::map<int, std::string> files;
};

std::unique_ptr<Module> parse_ptx(const std::string& text, const std::string& name);

}  // namespace ptxrun
