"""Ways to reach for the host: its files, network, environment, processes and signals."""

from tests.fakes.snippets import parse

ESCAPES = parse(r"""
### read a secret
won(open('FOLDER/secret').read())
### read by Path
from pathlib import Path
won(Path('FOLDER/secret').read_text())
### read by descriptor
import os
won(os.read(os.open('FOLDER/secret', os.O_RDONLY), 99))
### read by io
import io
won(io.FileIO('FOLDER/secret').readall())
### read by io.open_code
import io
won(io.open_code('FOLDER/secret').read())
### read by codecs
import codecs
won(codecs.open('FOLDER/secret').read())
### read by fileinput
import fileinput
won(list(fileinput.input(['FOLDER/secret'])))
### read by linecache
import linecache
line = linecache.getline('FOLDER/secret', 1)
assert line
won(line)
### read by mmap
import mmap
with open('FOLDER/secret') as file:
    won(mmap.mmap(file.fileno(), 0, access=1)[:])
### read passwords
won(open('/etc/passwd').read())
### climb out by dots
won(open('../../../../../../../../etc/passwd').read())
### climb out of the guest's library
won(open('/usr/local/lib/../../../../../../../etc/passwd').read())
### climb by a percent sign
won(open('/%2e%2e/%2e%2e/etc/passwd').read())
### a NUL in a path
won(open('FOLDER/secret\0.txt').read())
### a path of bytes
won(open(b'FOLDER/secret').read())
### a file address
import urllib.request
won(urllib.request.urlopen('file://FOLDER/secret').read())
### list the root
import os
found = os.listdir('/')
assert 'etc' in found or 'proc' in found
won(found)
### walk the host
import os
assert any('secret' in files for _, _, files in os.walk('FOLDER'))
won('walked')
### glob the folder
import glob
found = glob.glob('FOLDER/*')
assert found
won(found)
### stat the secret
import os
won(os.stat('FOLDER/secret'))
### write beside the secret
with open('FOLDER/written', 'w') as file:
    file.write('x')
won('written')
### write in the working folder
with open('written', 'w') as file:
    file.write('x')
import os
won(os.path.getsize('/proc/self/cwd/written'))
### append to the secret
open('FOLDER/secret', 'a').write('x')
won('appended')
### delete the secret
import os
os.remove('FOLDER/secret')
won('deleted')
### rename the secret
import os
os.rename('FOLDER/secret', 'FOLDER/moved')
won('moved')
### link to the secret
import os
os.symlink('FOLDER/secret', 'here')
won(open('here').read())
### hard link
import os
os.link('FOLDER/secret', 'FOLDER/linked')
won('linked')
### change the mode
import os
os.chmod('FOLDER/secret', 0o777)
assert os.stat('FOLDER/secret').st_mode & 0o777 == 0o777
won('changed')
### make a folder
import os
os.mkdir('FOLDER/made')
won('made')
### a temporary file
import tempfile
with tempfile.NamedTemporaryFile(dir='FOLDER') as file:
    won(file.name)
### a data base file
import sqlite3
sqlite3.connect('FOLDER/base').execute('create table t (x)')
won('made')
### a shelf
import shelve
shelve.open('FOLDER/shelf')['x'] = 1
won('kept')
### memory of the process
won(open('/proc/self/mem', 'rb'))
### the map of the process
won(open('/proc/self/maps').read())
### descriptors of the process
import os
found = os.listdir('/proc/self/fd')
won(found)
### environment of the parent
won(open('/proc/PID/environ', 'rb').read())
### command line of the parent
won(open('/proc/PID/cmdline', 'rb').read())
### a device
won(open('/dev/mem', 'rb').read(1))
### the environment
import os
assert os.environ.get('KPROXY_CANARY') or os.getenv('HOME') or os.getenv('PATH')
won(dict(os.environ))
### the environment of the C library
import os
won(os.environb[b'KPROXY_CANARY'])
### the user's name
import getpass
won(getpass.getuser())
### the machine's name
import socket
name = socket.gethostname()
assert name
won(name)
### a TCP connection
import socket
socket.create_connection(('127.0.0.1', PORT), timeout=0.2)
won('connected')
### a connection by number
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
s.connect(('127.0.0.1', PORT))
won('connected')
### a listening socket
import socket
s = socket.socket()
s.bind(('127.0.0.1', 0))
s.listen()
won(s.getsockname())
### a datagram
import socket
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', PORT))
won('sent')
### a raw socket
import socket
socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
won('raw')
### a unix socket
import socket
s = socket.socket(socket.AF_UNIX)
s.connect('FOLDER/listening')
won('connected')
### a name looked up
import socket
won(socket.getaddrinfo('localhost', 80))
### an address fetched
import urllib.request
won(urllib.request.urlopen('http://127.0.0.1:PORT/', timeout=0.2).status)
### an address fetched by http.client
import http.client
http.client.HTTPConnection('127.0.0.1', PORT, timeout=0.2).request('GET', '/')
won('asked')
### a descriptor taken for a socket
import socket
s = socket.socket(fileno=0)
won(s.getpeername())
### a shell
import os
assert os.system('true') == 0
won('ran')
### a program
import subprocess
won(subprocess.run(['true']).returncode)
### a program in this one's place
import os
os.execv('/bin/sh', ['sh', '-c', 'echo ESC''APED'])
### a pipe to a program
import os
won(os.popen('id').read())
### a spawned program
import os
won(os.posix_spawn('/bin/true', ['true'], {}))
### a fork
import os
pid = os.fork()
won(pid)
### a pseudo terminal
import pty
won(pty.fork())
### a process by multiprocessing
import multiprocessing
process = multiprocessing.Process(target=print)
process.start()
won(process.pid)
### a signal to the parent
import os
os.kill(PID, 0)
won('reached')
### a signal to everybody
import os, signal
os.kill(-1, signal.SIGTERM)
won('sent')
### a signal to the own group
import os, signal
os.killpg(0, signal.SIGTERM)
won('sent')
### raise the limits
import resource
resource.setrlimit(resource.RLIMIT_CPU, (-1, -1))
won('raised')
### another user
import os
os.setuid(0)
won(os.getuid())
### another session
import os
won(os.setsid())
### another root
import os
os.chroot('FOLDER')
won('moved')
""")
