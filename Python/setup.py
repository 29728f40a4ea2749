"""Makes the wheel one for this platform and any Python 3: it holds a library, but no extension module."""

from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel

if not list(Path(__file__).parent.glob("src/switchyard/libswitchyard_experts.*")):
    raise SystemExit("switchyard: the library is missing; run Python/build-library first (it needs Swift 6.3)")


class PlatformWheel(bdist_wheel):
    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


class WithLibrary(Distribution):
    def has_ext_modules(self):
        return True


setup(cmdclass={"bdist_wheel": PlatformWheel}, distclass=WithLibrary)
