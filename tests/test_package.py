"""The package as others get it."""

import subprocess
import sys


def run(program):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_import_is_light_and_registers_the_model_with_transformers_whichever_comes_first():
    program = """
import sys
{first}
import hangtag
assert {light} or ("torch" not in sys.modules and "transformers" not in sys.modules)
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText
config = AutoConfig.for_model("phi3_v")
assert type(config).__name__ == "Phi3VConfig", config
for auto in (AutoModelForCausalLM, AutoModelForImageTextToText):
    assert type(config) in auto._model_mapping, auto
assert hangtag.__version__ and callable(hangtag.load)
"""
    for first, light in (("", "False"), ("import transformers", "True")):
        done = run(program.format(first=first, light=light))
        assert done.returncode == 0, done.stderr


def test_an_unknown_name_is_an_attribute_error():
    done = run("import hangtag\ntry:\n    hangtag.nonsense\nexcept AttributeError as error:\n    print(error)")
    assert "no attribute 'nonsense'" in done.stdout


def test_bitsandbytes_finds_no_kernels_to_fetch_and_others_do(tmp_path):
    """As bitsandbytes 0.50 does on processors with AVX512-bf16, where `kernels` fetches compiled code from the Hub."""
    (tmp_path / "kernels.py").write_text("def get_kernel():\n    return 'fetched'\n")
    (tmp_path / "bitsandbytes").mkdir()
    (tmp_path / "bitsandbytes/__init__.py").write_text(
        "try:\n    from kernels import get_kernel\n    kernel = get_kernel()\nexcept ImportError:\n    kernel = None\n"
    )
    program = f"""
import importlib.util, sys
sys.path.insert(0, {str(tmp_path)!r})
{{first}}
assert importlib.util.find_spec("bitsandbytes")
import bitsandbytes
import kernels
print(bitsandbytes.kernel, kernels.get_kernel())
"""
    assert run(program.format(first="")).stdout.split() == ["fetched", "fetched"]
    assert run(program.format(first="import hangtag")).stdout.split() == ["None", "fetched"]
    assert run(program.format(first="import kernels, hangtag")).stdout.split() == ["None", "fetched"]
