#!/usr/bin/env python3
"""Makes tests/data/llama/*: what PyTorch and transformers compute for tiny LlamaForCausalLM models.

  <name>/config.json, model.safetensors    as save_pretrained writes them
  <name>/gradients/...                     the same files with each weight replaced by the gradient of the
                                           sum of token losses
  <name>/expected.json                     tokens and labels [B][N], loss (sum), label count, greedy
                                           continuation of a prompt
  <name>/logits.bin                        [B, N, V] little-endian float32

Command:  python3 tests/data/make_llama_fixtures.py        (torch and transformers installed)
"""
import argparse
import json
import pathlib

import torch
import transformers
from torch.nn import functional

IGNORED = -100

# Together: grouped, multi- and single-query heads; a head width other than hidden / heads; tied and untied
# embeddings; both kinds of rotary scaling; sizes that are no multiple of anything.
MODELS = {
    "grouped_untied": dict(
        config=dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                    num_key_value_heads=2, vocab_size=64, max_position_embeddings=128, rms_norm_eps=1e-5,
                    rope_theta=10000.0, tie_word_embeddings=False),
        batch=2, tokens=24, seed=1),
    "tied_llama3_scaling_odd": dict(
        config=dict(hidden_size=21, intermediate_size=37, num_hidden_layers=2, num_attention_heads=3,
                    num_key_value_heads=1, head_dim=10, vocab_size=53, max_position_embeddings=256,
                    rms_norm_eps=1e-6, rope_theta=500.0, tie_word_embeddings=True,
                    rope_scaling=dict(rope_type="llama3", factor=4.0, low_freq_factor=1.0,
                                      high_freq_factor=4.0, original_max_position_embeddings=64)),
        batch=3, tokens=31, seed=2),
    "linear_scaling_one_layer": dict(
        config=dict(hidden_size=20, intermediate_size=33, num_hidden_layers=1, num_attention_heads=2,
                    num_key_value_heads=2, head_dim=6, vocab_size=31, max_position_embeddings=64,
                    rms_norm_eps=1e-6, rope_theta=10000.0, tie_word_embeddings=False,
                    rope_scaling=dict(rope_type="linear", factor=2.0)),
        batch=1, tokens=17, seed=3),
}


def make(directory, config, batch, tokens, seed):
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(**config, attn_implementation="eager", bos_token_id=None,
                                      eos_token_id=None)
    model = transformers.LlamaForCausalLM(config).float()
    with torch.no_grad():  # weights large enough that no term of the gradient is negligible
        for name, weight in model.named_parameters():
            weight.copy_(1 + 0.2 * torch.randn_like(weight) if "norm" in name
                         else torch.randn_like(weight) * 1.5 / weight.shape[1] ** 0.5)

    vocabulary = config.vocab_size
    sequence = torch.randint(0, vocabulary, (batch, tokens + 1))
    inputs, labels = sequence[:, :-1], sequence[:, 1:].clone()
    labels[0, 3:6] = IGNORED
    logits = model(inputs).logits
    loss = functional.cross_entropy(logits.reshape(-1, vocabulary), labels.reshape(-1), ignore_index=IGNORED,
                                    reduction="sum")
    loss.backward()
    prompt = inputs[:1, :5]
    with torch.no_grad():
        greedy = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=12,
                                do_sample=False, pad_token_id=0)

    directory.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(directory)
    logits.detach().numpy().astype("<f4").tofile(directory / "logits.bin")
    (directory / "expected.json").write_text(json.dumps(dict(
        tokens=inputs.tolist(), labels=labels.tolist(), loss=loss.item(),
        label_count=int((labels != IGNORED).sum()), prompt=prompt[0].tolist(),
        greedy=greedy[0, prompt.shape[1]:].tolist(),
        made_with=f"torch {torch.__version__}, transformers {transformers.__version__}")) + "\n")
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.grad)
    model.save_pretrained(directory / "gradients")
    for unused in directory.rglob("generation_config.json"):
        unused.unlink()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent / "llama")
    arguments = parser.parse_args()
    torch.use_deterministic_algorithms(True)
    for name, model in MODELS.items():
        make(arguments.out / name, **model)
        print(arguments.out / name)


if __name__ == "__main__":
    main()
