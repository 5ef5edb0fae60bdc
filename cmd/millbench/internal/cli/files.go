package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// output is a file to be written: all of it or nothing, by renaming. It must be
// discarded in the end.
type output struct {
	path    string   // what it is to be
	file    *os.File // what is written; nil once that is over
	inPlace bool     // it is not renamed: path is a device, a pipe or the like
}

// create opens an output, so that a path that can't be written is known before
// the run and not after it. A file that is there stays as it is until write.
func create(path string) (*output, error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // the link is to stay one
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return createTemporary(path, 0o666) // less the umask
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("%s is a folder", path)
	}
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return &output{path: path, file: file, inPlace: true}, nil
	}
	_ = file.Close() // it was only to try whether that is allowed
	o, err := createTemporary(path, 0o600)
	if err == nil {
		err = o.file.Chmod(info.Mode().Perm())
	}
	return o, err
}

func createTemporary(path string, mode fs.FileMode) (*output, error) {
	name := fmt.Sprintf("%s.%d.tmp", path, os.Getpid())
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if wrong, ok := errors.AsType[*fs.PathError](err); ok {
		wrong.Path = path // nobody has asked for the other one
	}
	if err != nil {
		return nil, err
	}
	return &output{path: path, file: file}, nil
}

// write writes the content and puts it in its place.
func (o *output) write(content func(io.Writer) error) error {
	buffered := bufio.NewWriter(o.file)
	err := errors.Join(content(buffered), buffered.Flush())
	if err != nil {
		return err
	}
	name := o.file.Name()
	err = o.file.Close()
	o.file = nil
	if o.inPlace {
		return err
	}
	if err == nil {
		err = os.Rename(name, o.path)
	}
	if err != nil {
		_ = os.Remove(name) // the error is told already
	}
	return err
}

// discard removes what was not written. It may be called after write, and for nil.
func (o *output) discard() {
	if o == nil || o.file == nil {
		return
	}
	_ = o.file.Close() // nothing in it is wanted
	if !o.inPlace {
		_ = os.Remove(o.file.Name())
	}
	o.file = nil
}
