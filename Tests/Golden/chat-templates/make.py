# Makes models.json and constructs.json with the reference Jinja; see README.md.
import datetime, json, pathlib
import jinja2, jinja2.ext, jinja2.nodes
from jinja2.sandbox import SandboxedEnvironment

from constructs import CONSTRUCTS

here = pathlib.Path(__file__).parent


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


env = SandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", "jinja2.ext.do", Generation])
env.filters["tojson"] = tojson
env.globals["raise_exception"] = raise_exception
env.globals["strftime_now"] = lambda format: datetime.datetime.now().strftime(format)


def render(source, variables):
    try:
        return {"rendered": env.from_string(source).render(**variables)}
    except jinja2.exceptions.TemplateError as error:
        return {"error": str(error) if type(error) is jinja2.exceptions.TemplateError else None}
    except Exception:
        return {"error": None}


def write(name, value):
    (here / name).write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


conversations = json.loads((here / "conversations.json").read_text())
cases = []
for path in sorted((here / "templates").glob("*.jinja")):
    with path.open(newline="") as file:
        source = file.read()
    for name, variables in conversations.items():
        variables = {"bos_token": "<s>", "eos_token": "</s>", **variables}
        cases.append({"template": path.stem, "conversation": name} | render(source, variables))
write("models.json", cases)

common = {
    "s": "Hello, wörld", "n": 7, "x": 2.5, "t": True, "nil": None, "xs": [3, 1, 2], "empty": [],
    "d": {"b": 1, "a": [1, "two", None, 3.0, False], "ä": {"k": "v\n\"q\" <&>'"}},
    "ms": [{"role": "user", "content": "hi", "n": 2}, {"role": "assistant", "content": None, "n": 1},
           {"role": "user", "content": " <b> ", "n": 3, "meta": {"k": 1}}],
}
constructs = [{"source": source} | render(source, common) for source in CONSTRUCTS]
write("constructs.json", {"variables": common, "cases": constructs})
print(len(cases), "model cases,", len(constructs), "constructs,",
      sum("error" in case for case in cases), "and", sum("error" in case for case in constructs), "errors")
