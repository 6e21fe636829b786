package main

import (
	"errors"
	"fmt"
	"html"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/vmware/govmomi/vim25/types"
)

// fileRequest lets a request for a file in or answers it: sessions, edition and ordered faults, as serveSDK does for
// methods. For the counts and for faults it goes by a name such as "PUT /folder".
func (h *host) fileRequest(w http.ResponseWriter, r *http.Request, place string) (ordered *methodFault, allowed bool) {
	ordered = h.control.method(r.Method + " " + place)
	if ordered != nil && ordered.when == "start" {
		if ordered.drop {
			panic(http.ErrAbortHandler)
		}
		http.Error(w, ordered.text, httpStatus(ordered.fault))
		return nil, false
	}
	if !h.authorized(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="VMware HTTP server"`)
		http.Error(w, "401 Unauthorized", http.StatusUnauthorized)
		return nil, false
	}
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	if h.cfg.Edition == editionFree && !read {
		http.Error(w, faultText(new(types.RestrictedVersion)), http.StatusForbidden)
		return nil, false
	}
	return ordered, true
}

func httpStatus(fault types.BaseMethodFault) int {
	switch fault.(type) {
	case *types.NoDiskSpace:
		return http.StatusInsufficientStorage
	case *types.FileNotFound, *types.NotFound:
		return http.StatusNotFound
	case *types.NotAuthenticated:
		return http.StatusUnauthorized
	case *types.RestrictedVersion, *types.NoPermission:
		return http.StatusForbidden
	}
	return http.StatusInternalServerError
}

// serveFolder gives access to the files of a datastore: /folder/PATH?dcPath=ha-datacenter&dsName=NAME.
func (h *host) serveFolder(w http.ResponseWriter, r *http.Request) {
	ordered, allowed := h.fileRequest(w, r, "/folder")
	if !allowed {
		return
	}
	query := r.URL.Query()
	d := h.datastoreByName(query.Get("dsName"))
	if center := query.Get("dcPath"); d == nil || (center != "" && center != h.datacenter.Name) {
		http.NotFound(w, r)
		return
	}
	path := filepath.Join(d.dir, filepath.Join("/", strings.TrimPrefix(r.URL.Path, "/folder")))
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		h.sendFile(w, r, d, path)
	case http.MethodPut, http.MethodPost:
		h.receiveFile(w, r, d, path, ordered)
	case http.MethodDelete:
		h.removeByHTTP(w, r, path)
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

func (h *host) locked(path string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lockedBy(path, nil) != nil || h.usedBelow(path) != nil
}

func (h *host) sendFile(w http.ResponseWriter, r *http.Request, d *datastore, path string) {
	info, err := os.Stat(path)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	if info.IsDir() {
		listFolder(w, r, d, path)
		return
	}
	// The .vmx of a running VM can be read; its disks are held by the VM.
	if strings.HasSuffix(path, ".vmdk") && h.locked(path) {
		http.Error(w, "500 Internal Server Error", http.StatusInternalServerError)
		return
	}
	file, err := os.Open(path)
	if err != nil {
		http.Error(w, "500 Internal Server Error", http.StatusInternalServerError)
		return
	}
	defer file.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", info.ModTime(), file)
}

func listFolder(w http.ResponseWriter, r *http.Request, d *datastore, path string) {
	entries, err := os.ReadDir(path)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	title := html.EscapeString(d.datastorePath(path))
	fmt.Fprintf(w, "<html><head><title>Index of %s</title></head><body><table>\n", title)
	for _, entry := range entries {
		name := entry.Name()
		if entry.IsDir() {
			name += "/"
		}
		link := url.URL{Path: strings.TrimSuffix(r.URL.Path, "/") + "/" + name, RawQuery: r.URL.RawQuery}
		fmt.Fprintf(w, "<tr><td><a href=\"%s\">%s</a></td></tr>\n", html.EscapeString(link.String()), html.EscapeString(name))
	}
	fmt.Fprint(w, "</table></body></html>\n")
}

// receiveFile writes what comes in. A client that goes away leaves a partial file; a full datastore leaves none.
func (h *host) receiveFile(
	w http.ResponseWriter, r *http.Request, d *datastore, path string, ordered *methodFault,
) {
	if r.ContentLength < 0 {
		http.Error(w, "411 Length Required", http.StatusLengthRequired)
		return
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		http.NotFound(w, r)
		return
	}
	present, err := os.Stat(path)
	replaced := err == nil
	if replaced && (present.IsDir() || h.locked(path)) {
		http.Error(w, "500 Internal Server Error", http.StatusInternalServerError)
		return
	}
	var had int64
	if replaced {
		had = allocated(present)
	}
	if err := d.reserve(r.ContentLength - had); err != nil {
		// Read to the end, or the client would see a broken connection in the place of the answer.
		_, _ = io.Copy(io.Discard, r.Body)
		http.Error(w, err.Error(), http.StatusInsufficientStorage)
		return
	}
	file, err := os.Create(path)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	body := io.Reader(r.Body)
	if ordered != nil {
		body = io.LimitReader(body, r.ContentLength/2)
	}
	err = fill(file, body, path)
	if closed := file.Close(); err == nil {
		err = closed
	}
	switch {
	case errors.Is(err, errNoSpace) || (ordered != nil && !ordered.drop):
		_ = os.Remove(path)
		status, text := http.StatusInsufficientStorage, errNoSpace.Error()
		if ordered != nil {
			status, text = httpStatus(ordered.fault), ordered.text
		}
		http.Error(w, text, status)
	case ordered != nil:
		panic(http.ErrAbortHandler)
	case err != nil:
		log.Printf("upload of %s broke off: %s", displayPath(path), err)
	case replaced:
		w.WriteHeader(http.StatusOK)
	default:
		w.WriteHeader(http.StatusCreated)
	}
}

func (h *host) removeByHTTP(w http.ResponseWriter, r *http.Request, path string) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		http.NotFound(w, r)
	case info.IsDir() || h.locked(path):
		http.Error(w, "500 Internal Server Error", http.StatusInternalServerError)
	default:
		if err := removeFile(path); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
}
