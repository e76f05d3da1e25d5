"""Ways to use up time, memory, output or patience; each with the ends that it may come to.

Both interpreters meet the same code. One may refuse what the other runs into, so `ENDS` allows,
for each group, the refusals as well. Only a pattern may come to an end of its own.
"""

from tests.fakes.snippets import parse

# What an interpreter says that does not know the construct.
REFUSED = {"exception", "syntax"}

TIME = parse(r"""
### a loop
while True: pass
### a loop that counts
n = 0
while True: n += 1
### a loop that catches
while True:
    try:
        while True: pass
    except BaseException: pass
### a loop in finally
try:
    1 / 0
finally:
    while True: pass
### a loop over itself
x = [1]
for y in x: x.append(y)
### an iterator without end
import itertools
for _ in itertools.count(): pass
### a generator without end
def g():
    while True: yield 1
sum(g())
### a sum without end in C
import itertools
sum(itertools.repeat(0))
### a membership without end
import itertools
1 in itertools.repeat(0)
### a product
import itertools
for _ in itertools.product(range(10**4), repeat=5): pass
### a power
2 ** (10 ** 9)
### a modular power
pow(3, 10 ** 200000, 10 ** 200000 + 7)
### a factorial
import math
math.factorial(10 ** 8)
### a division of giants
x = 7 ** 3000000
y = 3 ** 1500000
while True: x // y
### digits of a giant
import sys
sys.set_int_max_str_digits(0)
str(7 ** 30000000)
### a giant from text
import sys
sys.set_int_max_str_digits(0)
int('9' * 10000000)
### a loop that ignores signals
import signal
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGXCPU):
    signal.signal(number, signal.SIG_IGN)
while True: pass
### hashes that collide
d = {}
for n in range(10**7): d[(1 << 61) * n - n] = n
### sleep
import time
time.sleep(3600)
### sleep in bits
import time
while True: time.sleep(0.01)
### fibonacci
def f(n): return n if n < 2 else f(n - 1) + f(n - 2)
f(60)
### ackermann
def a(m, n): return n + 1 if not m else a(m - 1, 1 if not n else a(m, n - 1))
while True:
    try: a(3, 6)
    except RecursionError: pass
### sort that never agrees
class A:
    def __lt__(self, other):
        while True: pass
sorted([A(), A()])
### equality that never ends
class A:
    def __eq__(self, other):
        while True: pass
A() == A()
### a repr that never ends
class A:
    def __repr__(self):
        while True: pass
repr(A())
### a hash that never ends
class A:
    def __hash__(self):
        while True: pass
{A()}
### a comparison of copies
x = 'a' * 10000000
y = 'a' * 10000000
while True: x == y
### a replacement of everything
x = 'ab' * 1000000
while True: x.replace('a', 'c').split('c')
### a lock taken twice
import threading
lock = threading.Lock()
lock.acquire()
lock.acquire()
""")

PATTERNS = parse(r"""
### a pattern that explodes
import re
re.match('(a+)+$', 'a' * 64 + 'b')
### a pattern that explodes by choice
import re
re.match('(a|aa)+$', 'a' * 128 + 'b')
### a pattern with references
import re
re.match(r'(.*)(.*)(.*)(.*)(.*)\1\2\3\4\5x', 'a' * 256)
### a giant pattern
import re
re.match('(a?){20000}a{20000}', 'a' * 20000)
### a search that starts over
import re
re.sub('a*b', '', 'a' * 10 ** 6)
""")

MEMORY = parse(r"""
### a list that grows
x = []
while True: x.append(' ' * 10000)
### a list that doubles
x = [0]
while True: x = x + x
### a text that doubles
x = 'a'
while True: x = x + x
### bytes that double
x = b'a'
while True: x += x
### a dictionary that grows
x = {}
n = 0
while True:
    x[n] = str(n) * 100
    n += 1
### a text at once
' ' * (10 ** 12)
### bytes at once
bytes(10 ** 12)
### a list at once
[0] * (10 ** 11)
### a width
f'{1:1000000000000}'
### a width by percent
'%1000000000d' % 1
### a precision
'{:.1000000000f}'.format(1.0)
### a padding
'x'.ljust(10 ** 12)
### a join
' '.join([' ' * 10 ** 7] * 10 ** 5)
### a replacement that grows
x = 'a' * 10 ** 6
for _ in range(9): x = x.replace('a', 'a' * 100)
### a nest of lists
x = []
while True: x = [x, x]
### laughing objects
x = ['lol']
for _ in range(12): x = [x] * 10
str(x)
### a range made real
list(range(10 ** 11))
### a shift
1 << (10 ** 12)
### a zip bomb
import zlib
x = zlib.compress(b'\0' * 10 ** 7, 9)
keep = []
while True: keep.append(zlib.decompress(x))
### a json bomb
import json
json.loads('[' * 10 ** 7)
### classes without end
keep = []
while True: keep.append(type('A', (), {'x': [0] * 1000}))
""")

OUTPUT = parse(r"""
### a flood
while True: print('x' * 1000)
### a flood of letters
while True: print('x', end='')
### a flood at once
print('x' * 10 ** 7)
### a flood of lines
print('\n' * 10 ** 7)
### a flood of errors
import sys
while True: print('x' * 1000, file=sys.stderr)
### a flood of wide letters
print('\U0001f600' * 10 ** 6)
### a flood by arguments
print(*range(10 ** 6))
""")

DEPTH = parse(r"""
### a function that calls itself
def f(): return f()
f()
### a function that calls itself, caught
def f():
    try: f()
    except RecursionError: f()
f()
### a repr that calls itself
class A:
    def __repr__(self): return repr(self)
repr(A())
### parentheses
eval('(' * 100000 + ')' * 100000)
### a chain of attributes
eval('a' + '.a' * 100000)
### a chain of signs
eval('-' * 1000000 + '1')
### a nest compared
x = y = None
for _ in range(10 ** 6): x, y = [x], [y]
x == y
### a getattr that calls itself
class A:
    def __getattr__(self, name): return getattr(self, name + 'x')
A().x
### a limit raised
import sys
sys.setrecursionlimit(10 ** 9)
def f(): return f()
f()
### a nest in the source
[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[
""")

# A machine that is busy may end any of them by time first, and what takes memory may take time.
ENDS = {
    "time": (TIME, {"time", "memory", "crash"} | REFUSED),
    # An engine of linear time comes to an end.
    "patterns": (PATTERNS, {None, "time", "memory", "crash"} | REFUSED),
    "memory": (MEMORY, {"memory", "time", "crash"} | REFUSED),
    "output": (OUTPUT, {"output", "time"} | REFUSED),
    "depth": (DEPTH, {"exception", "syntax", "memory", "crash", "time"}),
}
