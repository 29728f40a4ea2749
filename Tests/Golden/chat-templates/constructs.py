# Jinja sources, one idea each; the variables are in make.py.
CONSTRUCTS = r'''
{{ s }}|{{ n }}|{{ x }}|{{ t }}|{{ nil }}|{{ xs }}|{{ d }}
{{ missing }}|{{ d.missing }}|{{ xs[9] }}|{{ nil.y }}
{{ missing.y }}
{{ d.missing.deeper }}
{{ missing + 1 }}
{{ 'a' + missing }}
{{ missing() }}
{{ missing ~ 'a' }}|{{ missing == other }}|{{ missing == none }}|{{ 'a' in missing }}|{{ missing|length }}
{% for q in missing %}x{% else %}none{% endfor %}
{{ 1 + 2 * 3 - 4 }}|{{ 7 // 2 }}|{{ -7 // 2 }}|{{ 7 % 3 }}|{{ -7 % 3 }}|{{ 7 % -3 }}|{{ 7 / 2 }}|{{ 6 / 2 }}|{{ 2 ** 10 }}
{{ 2 ** 3 ** 2 }}|{{ 2 ** -1 }}|{{ -2 ** 2 }}|{{ 7.5 // 2 }}|{{ -7.5 % 2 }}|{{ 1e3 }}|{{ 1.5e-7 }}|{{ 1_000 }}|{{ 0x1f }}|{{ 0b101 }}|{{ 0o17 }}
{{ 1e16 }}|{{ 123456789012345680.0 }}|{{ 1e15 }}|{{ 9999999999999998.0 }}|{{ 0.0001 }}|{{ 0.00001 }}|{{ 1.0 }}|{{ 100.0 }}|{{ 0.1 + 0.2 }}|{{ 1e100 }}|{{ 5e-324 }}|{{ 1.7976931348623157e308 }}|{{ 12345.678 }}|{{ -0.0 }}
{{ 1 / 0 }}
{{ 1 % 0 }}
{{ 'a' * 3 }}|{{ 2 * 'ab' }}|{{ [1, 2] * 2 }}|{{ [1] + [2] }}|{{ (1, 2) + (3,) }}|{{ 'a' * -1 }}|{{ [1] * 0 }}
{{ 'a' + 1 }}
{{ [1] + (2,) }}
{{ 1 ~ 'a' ~ none ~ true ~ 2.0 }}
{{ 1 + 2 ~ 3 }}
{{ 'a' ~ 1 + 2 }}
{{ 'a' ~ 1 ~ 2 + 'b' }}|{{ 2 ~ 3 * 2 }}
{{ true + true }}|{{ -true }}|{{ not true }}|{{ +3 }}|{{ - 3 }}|{{ --3 }}
{{ 1 < 2 < 3 }}|{{ 1 < 3 < 2 }}|{{ 1 == 1.0 }}|{{ true == 1 }}|{{ 'a' < 'b' }}|{{ [1, 2] < [1, 3] }}|{{ 1 != 2 }}|{{ 2 >= 2 <= 3 }}
{{ 'a' < 1 }}
{{ none < 1 }}
{{ 'a' == 1 }}|{{ [1, 'a'] == [1, 'a'] }}|{{ {'a': 1, 'b': 2} == {'b': 2, 'a': 1} }}|{{ [1] == (1,) }}
{{ 'ell' in s }}|{{ 'z' not in s }}|{{ 3 in xs }}|{{ 'b' in d }}|{{ 'zz' in d }}|{{ not 'b' in d }}|{{ 1 in (1, 2) }}
{{ 1 in 5 }}
{{ 1 in 'a' }}
{{ 0 or 'x' }}|{{ 1 and 'y' }}|{{ '' or none }}|{{ 0 and 1 }}|{{ not '' and not [] }}|{{ nil or missing or 'z' }}
{{ 'yes' if t else 'no' }}|{{ 'yes' if not t else 'no' }}|{{ 'only' if false }}|{{ 'a' if false else 'b' if false else 'c' }}
{{ ('a' if false).x }}
{{ 1 if 1 if 0 else 2 }}
{{ xs[0] }}|{{ xs[-1] }}|{{ xs[0:2] }}|{{ xs[::-1] }}|{{ xs[1:] }}|{{ xs[:-1] }}|{{ xs[5:] }}|{{ xs[-2:] }}|{{ xs[::2] }}|{{ xs[2:0:-1] }}
{{ s[0] }}|{{ s[-4:] }}|{{ s[::-1] }}|{{ s[7:9] }}|{{ s[1::3] }}|{{ s[100:] }}|{{ (1, 2, 3)[1:] }}|{{ xs[true] }}
{{ xs[::0] }}
{{ xs[1:2:3:4] }}
{{ d['b'] }}|{{ d.b }}|{{ d['ä'].k }}|{{ d.a[1] }}|{{ d.a.1 }}|{{ d['a'][-1] }}|{{ d.get('b') }}|{{ d.get('q') }}|{{ d.get('q', 9) }}
{{ d.items() | list }}|{{ d.keys() | list }}|{{ d.values() | list | length }}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}
{% for k in d %}{{ k }},{% endfor %}{% for c in 'aé' %}[{{ c }}]{% endfor %}
{% for (a, b), c in [((1, 2), 3)] %}{{ a }}{{ b }}{{ c }}{% endfor %}
{% for a, b in [[1, 2, 3]] %}{{ a }}{% endfor %}
{% for q in 5 %}{% endfor %}
{% for m in ms if m.role == 'user' %}{{ loop.index }}/{{ loop.length }}:{{ m.content }}{% if not loop.last %},{% endif %}{% endfor %}
{% for i in xs if i > 9 %}{{ i }}{% else %}nothing{% endfor %}
{% for i in range(4) %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.previtem }}{{ loop.nextitem }};{% endfor %}
{% for i in range(2) %}{% for j in range(2) %}{{ loop.depth }}{{ loop.depth0 }}{{ i }}{{ j }}{{ loop.cycle('a', 'b') }} {% endfor %}{% endfor %}
{% for i in [1, 1, 2] %}{{ loop.changed(i) }}{% endfor %}
{% for i in range(3) %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{% endfor %}
{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}
{% for i in range(3) %}{% for j in range(3) %}{% if j == 1 %}{% break %}{% endif %}{{ i }}{{ j }} {% endfor %}{% endfor %}
{% for i in 1, 2, 3 %}{{ i }}{% endfor %}
{{ loop }}
{% break %}
{{ range(5) | list }}{{ range(2, 5) | list }}{{ range(5, 0, -2) | list }}{{ range(0) | list }}{{ range(3, 1) | list }}
{{ range(1, 2, 0) }}
{{ range(1000000) | length }}
{% set a = 1 %}{{ a }}{% set a, b = 2, 3 %}{{ a }}{{ b }}{% if true %}{% set a = 4 %}{% endif %}{{ a }}
{% set a = 1 %}{% for i in range(3) %}{{ a }}{% set a = a + 1 %}{{ a }}{% endfor %}{{ a }}
{% set ns = namespace(n=0, s='') %}{% for i in range(3) %}{% set ns.n = ns.n + i %}{% set ns.s = ns.s ~ i %}{% endfor %}{{ ns.n }}{{ ns.s }}{{ ns.missing }}
{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a + ns.b }}{{ ns['a'] }}
{% set q = {} %}{% set q.a = 1 %}
{% set a %}x{{ n }}y{% endset %}[{{ a }}]
{% set a | upper | trim %} x{{ n }}y {% endset %}[{{ a }}]
{% set xs2 = [] %}{% do xs2.append(1) %}{% set _ = xs2.append(2) %}{{ xs2 }}{% set ys = xs2 %}{% do ys.append(3) %}{{ xs2 | length }}
{% macro f(a, b=2, c='x') %}[{{ a }},{{ b }},{{ c }}]{% endmacro %}{{ f(1) }}{{ f(1, c=3) }}{{ f(b=5, a=4) }}{{ f() }}
{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}
{% macro f(a) %}{{ a }}{% endmacro %}{{ f(b=2) }}
{% macro f(a, b=a ~ '!') %}{{ a }}{{ b }}{% endmacro %}{{ f('q') }}
{% set g = 1 %}{% macro f() %}{{ g }}{% endmacro %}{% set g = 2 %}{{ f() }}
{% macro f() %}{% set z = 5 %}{{ z }}{% endmacro %}{{ f() }}{{ z }}
{% macro fact(k) %}{% if k <= 1 %}1{% else %}{{ k * (fact(k - 1) | int) }}{% endif %}{% endmacro %}{{ fact(10) }}
{% macro f(x) %}<{{ x }}>{% endmacro %}{{ f('a') | upper }}{{ f('a') ~ f('b') }}{{ f.name }}
{% macro box(title) %}[{{ title }}:{{ caller() }}]{% endmacro %}{% call box('t') %}body {{ n }}{% endcall %}
{% macro each(items) %}{% for i in items %}{{ caller(i) }}{% endfor %}{% endmacro %}{% call(v) each(xs) %}<{{ v }}>{% endcall %}
{% macro f() %}{{ caller is defined }}{% endmacro %}{{ f() }}
{% filter upper %}abc{{ n }}{% endfilter %}|{% filter replace('a', 'b') | upper %}aaa{% endfilter %}
{% with q = 1, r = n %}{{ q }}{{ r }}{% endwith %}{{ q }}
{% generation %}text {{ n }}{% endgeneration %}|
{{ s | upper }}|{{ s | lower }}|{{ s | title }}|{{ s | capitalize }}|{{ 'foo-bar (baz) it\'s' | title }}|{{ 'ÉCOLE' | capitalize }}
{{ '  a b  ' | trim }}|{{ 'xxaxx' | trim('x') }}|{{ 5 | trim }}|{{ '\n\t a \n' | trim }}
{{ s | length }}|{{ xs | count }}|{{ d | length }}|{{ 'é😀' | length }}
{{ 5 | length }}
{{ xs | join }}|{{ xs | join(', ') }}|{{ ms | join('+', attribute='role') }}|{{ [1, none, 'a'] | join('-') }}|{{ 'abc' | join('.') }}
{{ d | tojson }}|{{ s | tojson }}|{{ xs | tojson }}|{{ nil | tojson }}|{{ x | tojson }}|{{ t | tojson }}|{{ (1, 2) | tojson }}
{{ d | tojson(indent=2) }}
{{ {'a': [], 'b': {}, 'c': [[1]]} | tojson(indent=4) }}|{{ [1] | tojson(indent=0) }}|{{ [1, [2]] | tojson(indent='--') }}
{{ d | tojson(ensure_ascii=true) }}|{{ '😀\x7f\x01' | tojson(ensure_ascii=true) }}|{{ d | tojson(separators=(',', ':')) }}|{{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }}
{{ {1: 'a', true: 'b', none: 'c', 1.5: 'd'} | tojson }}|{{ '\x00\x1f\b\f\n\r\t/\\' | tojson }}|{{ 1e16 | tojson }}
{{ missing | tojson }}
{{ missing | default('d') }}|{{ '' | default('d') }}|{{ '' | default('d', true) }}|{{ nil | d('q') }}|{{ nil | d('q', boolean=true) }}|{{ missing | default }}|{{ d.q.r | default('z') if d.q else 'no' }}
{{ xs | first }}|{{ xs | last }}|{{ empty | first }}|{{ 'abc' | first }}|{{ 'abc' | last }}|{{ d | first }}
{{ 'aXbXc' | replace('X', '-') }}|{{ 'aXbXc' | replace('X', '-', 1) }}|{{ 'abc' | replace('', '.') }}|{{ 5 | replace('5', '6') }}
{{ 'abc' | list }}|{{ xs | string }}|{{ n | string | length }}|{{ d | list }}
{{ '42' | int }}|{{ '4x' | int }}|{{ '4x' | int(7) }}|{{ 3.9 | int }}|{{ -3.9 | int }}|{{ '3.9' | int }}|{{ '0x1A' | int(base=16) }}|{{ ' 5 ' | int }}|{{ true | int }}|{{ nil | int }}|{{ '1_0' | int }}
{{ '1.5' | float }}|{{ 'z' | float }}|{{ 2 | float }}|{{ 'z' | float(1) }}|{{ '1e2' | float }}
{{ '<a href="x">\'&' | e }}|{{ '<b>' | escape }}|{{ '<b>' | safe }}
{{ ms | map(attribute='role') | list }}|{{ xs | map('string') | join }}|{{ ['a', 'b'] | map('upper') | list }}|{{ ms | map(attribute='meta.k', default=0) | list }}|{{ ['a '] | map('replace', 'a', 'b') | map('trim') | list }}
{{ ms | selectattr('role', 'equalto', 'user') | list | length }}|{{ ms | selectattr('content') | map(attribute='n') | list }}|{{ ms | rejectattr('role', 'in', ['user']) | map(attribute='n') | list }}|{{ ms | selectattr('n', '>', 1) | map(attribute='n') | list }}|{{ ms | selectattr('meta', 'defined') | list | length }}|{{ ms | rejectattr('content', 'none') | list | length }}
{{ xs | select('odd') | list }}|{{ xs | reject('gt', 1) | list }}|{{ [0, 1, ''] | select | list }}|{{ [0, 1, none] | reject | list }}
{{ xs | select('nonsense') | list }}
{{ xs | map('nonsense') | list }}
{{ xs | sort }}|{{ xs | sort(reverse=true) }}|{{ ['b', 'A', 'c'] | sort }}|{{ ['b', 'A', 'c'] | sort(case_sensitive=true) }}|{{ ms | sort(attribute='n') | map(attribute='n') | list }}|{{ [[1, 'b'], [0, 'c'], [1, 'a']] | sort(attribute=0) }}|{{ [[1, 'b'], [0, 'c'], [1, 'a']] | sort(attribute=0, reverse=true) }}
{{ [1, 'a'] | sort }}
{{ [1, 2, 1, 'a', 'A'] | unique | list }}|{{ ms | unique(attribute='role') | map(attribute='n') | list }}
{{ xs | reverse | list }}|{{ 'abc' | reverse }}|{{ xs | sum }}|{{ ms | sum(attribute='n') }}|{{ xs | min }}|{{ xs | max }}|{{ ['b', 'A'] | min }}|{{ ms | max(attribute='n') | length }}
{{ -5 | abs }}|{{ (-5) | abs }}|{{ -2.5 | abs }}|{{ 2.5 | round }}|{{ 3.5 | round }}|{{ 2.675 | round(2) }}|{{ 42 | round }}|{{ 2.1 | round(method='ceil') }}|{{ 2.19 | round(1, 'floor') }}|{{ 1234.5 | round(-2) }}|{{ 7 | round(1, 'ceil') }}
{{ 'a\nb\n\nc' | indent }}|{{ 'a\nb' | indent(2, true) }}|{{ 'a\n\nb' | indent(width=3, blank=true) }}|{{ 'a\nb\n' | indent('> ') }}|{{ '' | indent(2, first=true) }}
{{ {'b': 1, 'A': 3, 'c': 2} | dictsort }}|{{ {'b': 1, 'a': 3} | dictsort(by='value', reverse=true) }}|{{ {'b': 1, 'A': 3} | dictsort(true) }}
{{ d | items | list | length }}|{{ missing | items | list }}
{{ [1, 2, 3, 4, 5] | batch(2) | list }}|{{ [1, 2, 3] | batch(2, 'x') | list }}
{% for role, group in ms | groupby('role') %}{{ role }}:{{ group | length }};{% endfor %}
{{ 'a b  c' | wordcount }}|{{ '%s-%d-%r-%.2f%%' | format('a', 3, 'b', 1.005) }}|{{ '%s' % 5 }}|{{ '%s %s' % (1, 'x') }}|{{ d | attr('items') is defined }}
{{ '%d' % 'a' }}
{{ '%s %s' % 1 }}
{{ s is defined }}{{ missing is defined }}{{ missing is undefined }}{{ nil is none }}{{ s is none }}{{ nil is not none }}{{ d.q is not defined }}
{{ s is string }}{{ n is string }}{{ d is mapping }}{{ xs is mapping }}{{ xs is sequence }}{{ s is sequence }}{{ d is sequence }}{{ n is sequence }}{{ xs is iterable }}{{ n is iterable }}{{ s is iterable }}{{ missing is iterable }}{{ (1,) is sequence }}
{{ n is number }}{{ t is number }}{{ n is integer }}{{ t is integer }}{{ x is integer }}{{ x is float }}{{ n is float }}{{ t is boolean }}{{ n is boolean }}{{ t is true }}{{ t is false }}{{ 1 is true }}{{ false is false }}
{{ n is equalto 7 }}{{ n is eq 7 }}{{ n is ne 7 }}{{ n is lt 8 }}{{ n is gt(8) }}{{ n is ge 7 }}{{ n is le 6 }}{{ n is in [7, 8] }}{{ n is not in [7, 8] }}{{ n is odd }}{{ n is even }}{{ n is divisibleby 7 }}{{ n is divisibleby(2) }}
{{ 'abc' is lower }}{{ 'ABC' is upper }}{{ 'aBc' is upper }}{{ '1' is lower }}{{ none is sameas none }}{{ 1 is sameas true }}{{ range is callable }}{{ n is callable }}
{{ n is defined and n is odd or false }}{{ not n is defined }}{{ (n is defined) if t else 3 }}
{{ ' a '.strip() }}|{{ 'xax'.strip('x') }}|{{ 'xax'.lstrip('x') }}|{{ 'xax'.rstrip('x') }}|{{ '\n\na'.lstrip('\n') }}|{{ 'abcba'.strip('ab') }}
{{ 'a,b,c'.split(',') }}|{{ 'a,b,c'.split(',', 1) }}|{{ ' a  b '.split() }}|{{ ' a  b  c '.split(none, 1) }}|{{ 'a,b,c'.rsplit(',', 1) }}|{{ ' a  b  c '.rsplit(none, 1) }}|{{ 'aaa'.split('aa') }}|{{ 'aaa'.rsplit('aa') }}|{{ ''.split(',') }}|{{ ''.split() }}|{{ 'a<t>b<t>'.split('<t>')[-1] }}|{{ 'a b c'.split(' ', maxsplit=1) }}
{{ 'a'.split('') }}
{{ 'abc'.startswith('ab') }}{{ 'abc'.endswith('bc') }}{{ 'abc'.startswith(('x', 'a')) }}{{ 'abc'.startswith('') }}{{ 'a'.endswith('ba') }}
{{ 'aab'.replace('a', 'x') }}|{{ 'aab'.replace('a', 'x', 1) }}|{{ 'ab'.upper() }}|{{ 'AB'.lower() }}|{{ "they're bill's".title() }}|{{ 'aB c'.capitalize() }}|{{ ','.join(['a', 'b']) }}|{{ 'wörld'.find('r') }}|{{ 'abca'.rfind('a') }}|{{ 'a'.find('z') }}|{{ 'abca'.index('c') }}|{{ 'aaaa'.count('aa') }}|{{ 'a\nb\r\nc\n'.splitlines() }}
{{ '{} {}'.format(1, 'a') }}|{{ '{1} {0}'.format(1, 'a') }}|{{ '{k}{{}}'.format(k=2) }}|{{ 'prefix-x'.removeprefix('prefix-') }}|{{ 'x.py'.removesuffix('.py') }}|{{ 'x'.removesuffix('xx') }}
{{ 'a'.index('z') }}
{{ '12'.isdigit() }}{{ 'a1'.isalnum() }}{{ 'ab'.isalpha() }}{{ ' '.isspace() }}{{ ''.isdigit() }}{{ 'ab'.islower() }}{{ 'AB'.isupper() }}
{{ [1, 2, 1].count(1) }}{{ [1, 2].index(2) }}
{{ 'a'.nonsense() }}
{{ n.x.y }}
{{ ['it\'s', "q\"q", 'a\\b', 'tab\t', 'é😀', '\x01\u200b\xa0', 'both\'"'] }}
{{ [1.0, none, true, (1,), (), {}, {'a': (1, 2)}] }}
{{ 'a' 'b' "c" }}|{{ "\u00e9\x41\101\q" }}|{{ 'line\
joined' }}
{{ {'a': 1, 'a': 2} }}{{ {1: 'x', 'k': [1, {'z': none}]} }}{{ dict(a=1, b='x') }}{{ dict({'q': 1}, b=2) }}
{{ [1, 2,] }}{{ (1) }}{{ (1,) }}{{ () }}{{ 1, 2 }}
{{ {[1]: 2} }}
a {#- comment -#} b {# c #} d
{# {{ not rendered }} {% if %} #}x
{% raw %}{{ raw }} {% if %}{% endraw %}|{%- raw -%}  {{ x }}  {%- endraw -%}  |
{{ '{{' }}{{ '%}' }}{{ "#}" }}{{ {'a': {'b': 1}}['a']['b'] }}{{ {'a': {'b': 1}} }}
  {{- 'a' -}}  |  {{ 'b' }}  |
{{ s|upper|lower|replace('l','L')|list|first }}
{{ -n | abs }}|{{ (n - 10) | abs }}|{{ n - 10 | abs }}|{{ 2 * 3 | string }}
{{ raise_exception('stop: ' ~ n) }}
{% if n > 5 %}a{% elif n > 3 %}b{% else %}c{% endif %}{% if empty %}x{% elif xs %}y{% endif %}
{% if %}{% endif %}
{% if x %}
{% for %}{% endfor %}
{% endif %}
{{ }}
{{ 1 + }}
{{ (1 }}
{{ 1) }}
{{ 'abc }}
{{ x
{% nonsense %}
{{ 1 | nonsense }}
{{ 1 is nonsense }}
{{ a b }}
{# never closed
{% raw %}x
{{ 1 $ 2 }}
{{ strftime_now('plain') }}
{{ s.upper().lower().title() }}{{ (s ~ 'x').endswith('x') }}{{ [1, 2][0] }}{{ {'k': 'v'}.k }}{{ 'abc'[1] }}{{ (1, 2)[0] }}
{{ ms[0]['role'] ~ ':' ~ ms[0].content }}{{ ms[-1].meta.k }}{{ ms | length - 1 }}
{{ ms[1:] | map(attribute='role') | join(',') }}{% for m in ms[::-1] %}{{ m.n }}{% endfor %}
{% set i = namespace(found=false) %}{% for m in ms %}{% if m.role == 'assistant' %}{% set i.found = true %}{% endif %}{% endfor %}{{ i.found }}
{% set content = ms[0].content if ms[0].content is string else '' %}{{ content }}{% set a = 'x' if nil else 'y' %}{{ a }}
{% set r = '' %}{% if '</think>' in 'a</think>b' %}{% set r = 'a</think>b'.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}{% endif %}{{ r }}
'''.strip("\n").replace("\\\njoined", "\\\0joined").split("\n")
CONSTRUCTS = [source.replace("\0", "\n") for source in CONSTRUCTS]

# White space: newlines matter, so these are apart.
CONSTRUCTS += [
    "a\n  {% if true %}\n  b\n  {% endif %}\nc\n", "a\n  {%- if true -%}\n  b\n  {%- endif -%}\nc\n",
    "a\n  {%+ if true %}\n  b\n  {%+ endif +%}\nc\n", "a {% if true %} b {% endif %} c", "{% if true %}\n\n\nx\n{% endif %}\n\n",
    "  {# c #}  \n  x", "  {{ 1 }}\n  {{ 2 }}\n", "\n\n", "x\n", "x\n\n", "a\r\nb\rc\n", "{{ 'a\r\nb' }}",
    "{% for i in [1, 2] %}\n  {{ i }}\n{% endfor %}\nend", "{% for i in [1, 2] -%}\n  {{ i }}\n{%- endfor %}\nend",
    "a\n\t {#- x -#} \n b", "a\n\t {#+ x +#} \n b", "{%- set a = 1 %}\n   {%- set b = 2 %}\n\n{{ a }}{{ b }}",
    "  {% raw %}\n  x {{ y }}\n  {% endraw %}\nz", "  {%- raw -%}\n  x\n  {%- endraw +%}\nz", "x  {{- 1 -}}\u00a0\u3000y",
    "{{ 1 }}\n{{ 2 }}\n\n{% if true %}{% endif %}\n  {% if true %}{% endif %}  \nx", "\f  {% if true %}x{% endif %}",
    "{% if true %}  \n  y{% endif %}", "a {%- if true +%}\n b{% endif %}", "{%if true%}x{%endif%}{{1}}{{-1-}}",
    "{{ 1 -}}\n\n  {% if true %}\n z{% endif %}", "{#\nmany\nlines\n#}\n  {% if true %}q{% endif %}",
    "{% set a %}\n  x\n  {% endset %}[{{ a }}]", "{% macro m(a) %}\n  <{{ a }}>\n{% endmacro %}\n{{ m(1) }}|{{- m(2) -}}|",
    "{% filter trim %}\n\n x \n{% endfilter %}|", "{%\n  if\n  true\n%}x{% endif %}", "{{\n  'a'\n  ~ 'b'\n}}", "{", "{}", "a{b}%}c}}",
]
