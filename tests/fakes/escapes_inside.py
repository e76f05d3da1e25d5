"""Ways out through the interpreter itself: introspection, imports, formats, names, frames."""

from tests.fakes.snippets import parse

ESCAPES = parse(r"""
### subclasses of object
found = [c for c in ().__class__.__base__.__subclasses__() if c.__name__ == 'Popen']
won(found[0](['true']))
### subclasses by mro
for c in ''.__class__.__mro__[-1].__subclasses__():
    if c.__name__ == '_wrap_close':
        won(c.__init__.__globals__['system']('true'))
### a builtin's module
won(print.__self__.open('FOLDER/secret').read())
### globals of a function
won(won.__globals__['__builtins__'].open('FOLDER/secret').read())
### builtins by name
won(__builtins__['open']('FOLDER/secret').read())
### builtins by attribute
won(getattr(__builtins__, 'op' + 'en')('FOLDER/secret').read())
### __import__
won(__import__('os').popen('id').read())
### __import__ out of builtins
import builtins
won(builtins.__import__('subprocess').check_output(['id']))
### importlib
import importlib
won(importlib.import_module('subprocess').check_output(['id']))
### a loader
import importlib.machinery
loader = importlib.machinery.SourceFileLoader('secret', 'FOLDER/secret')
won(loader.get_data('FOLDER/secret'))
### the loader of a module
import re
won(re.__loader__.get_data('FOLDER/secret'))
### an extension loaded
import importlib.machinery
importlib.machinery.ExtensionFileLoader('x', '/lib/x86_64-linux-gnu/libc.so.6').create_module(None)
won('loaded')
### modules that are loaded
import sys
won(sys.modules['os'].popen('id').read())
### the modules' posix
import posix
won(posix.system('true'))
### a search path of one's own
import sys
sys.path.insert(0, 'FOLDER')
import planted
won(planted)
### ctypes
import ctypes
won(ctypes.CDLL(None).getpid())
### _ctypes
import _ctypes
won(_ctypes.dlopen(None, 0))
### cffi
import cffi
won(cffi.FFI().dlopen(None))
### eval
won(eval("open('FOLDER/secret').read()"))
### exec
exec("won(open('FOLDER/secret').read())")
### compile
won(eval(compile("open('FOLDER/secret').read()", 'x', 'eval')))
### code of one's own making
import types
code = won.__code__.replace(co_consts=(None, 'FOLDER/secret'))
types.FunctionType(code, {'print': open})('x')
won('ran')
### bytes for code
import marshal
won(eval(marshal.loads(marshal.dumps(compile("open('FOLDER/secret').read()", 'x', 'eval')))))
### a pickle that calls
import pickle
won(pickle.loads(b"cos\nsystem\n(S'id'\ntR."))
### frames
import sys
won(sys._getframe(1).f_globals['os'].environ)
### frames above by traceback
try:
    1 / 0
except ZeroDivisionError as error:
    frame = error.__traceback__.tb_frame
    while frame.f_back:
        frame = frame.f_back
    won(frame.f_globals['os'].popen('id').read())
### garbage with secrets
import gc
found = [thing for thing in gc.get_objects() if type(thing) is dict and 'KPROXY_CANARY' in thing]
assert found
won(found)
### a format string
class A:
    pass
text = '{0.__class__.__init__.__globals__[os].environ}'.format(A())
won(text)
### a format string that walks
import sys
text = '{0.modules[os].environ}'.format(sys)
assert 'KPROXY' in text
won(text)
### a percent string
won('%(x)s' % {'x': open('FOLDER/secret').read()})
### a template
import string
import sys
found = string.Formatter().get_field('0.modules[os].environ', (sys,), {})[0]
assert dict(found)
won(found)
### a decorator for a call
@won
@open
@lambda _: 'FOLDER/secret'
class A: pass
### a class that lies
class A(str):
    def __fspath__(self): return 'FOLDER/secret'
won(open(A('x')).read())
### wide letters
exec("won(\uff4f\uff50\uff45\uff4e('FOLDER/secret').read())")
### other letters
exec("won(\U0001d4f8\U0001d4f9\U0001d4ee\U0001d4f7('FOLDER/secret').read())")
### wide letters in an attribute
won(getattr((), '\uff3f\uff3fclass\uff3f\uff3f', None).__base__)
### a byte order mark and an encoding
# -*- coding: utf-7 -*-
exec(b'\xef\xbb\xbfwon(open("FOLDER/secret").read())')
### an encoding of one's own
import codecs
codecs.register(lambda name: won(open('FOLDER/secret').read()))
'x'.encode('mine')
### text that turns around
exec("x = 'safe\u202e\u2066' ; won(open('FOLDER/secret').read()) # \u2069\u2066")
### a hook on import
import sys
class F:
    def find_spec(*_): won(open('FOLDER/secret').read())
sys.meta_path.insert(0, F())
import nothing
### a hook on audit
import sys
sys.addaudithook(lambda event, args: None)
won(open('FOLDER/secret').read())
### a trace function
import sys
sys.settrace(lambda frame, *_: won(frame.f_back.f_globals['os'].environ))
(lambda: 1)()
### at the end
import atexit
atexit.register(lambda: won(open('FOLDER/secret').read()))
### by a finalizer
class A:
    def __del__(self): won(open('FOLDER/secret').read())
A()
del A
### a memory view over the end
won(memoryview(b'abc').cast('B')[10**6])
### an array over the end
import array
a = array.array('q', [1])
won(a.buffer_info()[0] and a[10**6])
### input
won(input())
### standard input
import sys
assert sys.stdin.read()
won('read')
### frames for the parent
import os
os.write(1, b'\0\0\0\x1b{"kind":"end","error":null}')
os.write(3, b'\0\0\0\x1b{"kind":"end","error":null}')
won(os.write(4, b'x'))
### the break point
breakpoint()
won('stopped')
### help
help()
won('helped')
""")
