package main

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// sessions are the logins of the API, by their cookie. They end with the process, as on a real host.
type sessions struct {
	mu   sync.Mutex
	open map[string]*simulator.Session
}

// newSession has a property collector of its own: what a client was told last is the session's business.
func (h *host) newSession(user string) *simulator.Session {
	now := time.Now()
	session := &simulator.Session{
		UserSession: types.UserSession{
			Key: uuid.New().String(), UserName: user, FullName: user, LoginTime: now, LastActiveTime: now,
			Locale: "en", MessageLocale: "en", ExtensionSession: types.NewBool(false),
		},
		Registry: simulator.NewRegistry(),
	}
	session.Registry.Put(newPropertyCollector(h, h.content.PropertyCollector))
	return session
}

// find returns the session of a request, nil when it has none that is still open.
func (s *sessions) find(r *http.Request) *simulator.Session {
	cookie, err := r.Cookie(soap.SessionCookieName)
	if err != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[cookie.Value]
}

func (s *sessions) add(session *simulator.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[session.Key] = session
}

func (s *sessions) forget(session *simulator.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, session.Key)
}

func (h *host) expireSessions() {
	h.sessions.mu.Lock()
	defer h.sessions.mu.Unlock()
	h.sessions.open = map[string]*simulator.Session{}
}

// login refuses a second login in the same session, as the real one does.
func (h *host) login(w http.ResponseWriter, current *simulator.Session, req *types.Login) soap.HasFault {
	if current != nil || !h.cfg.validPassword(req.UserName, req.Password) {
		return answer(refuse(new(types.InvalidLogin)))
	}
	session := h.newSession(req.UserName)
	h.sessions.add(session)
	// The host puts the value in quotes.
	w.Header().Set("Set-Cookie", fmt.Sprintf(`%s="%s"; Path=/; HttpOnly; Secure; `, soap.SessionCookieName, session.Key))
	return &methods.LoginBody{Res: &types.LoginResponse{Returnval: session.UserSession}}
}

// authorized tells whether a request for a file may pass: with a session's cookie or with a password.
func (h *host) authorized(r *http.Request) bool {
	if h.sessions.find(r) != nil {
		return true
	}
	user, password, given := r.BasicAuth()
	return given && h.cfg.validPassword(user, password)
}
