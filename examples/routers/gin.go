package main

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/millrace/millrace/server"
)

func newGin(h *house, sockets *server.Server) http.Handler {
	gin.SetMode(gin.ReleaseMode) // it is chatty else
	r := gin.New()
	r.Use(gin.Logger(), gin.Recovery(), func(c *gin.Context) {
		name, password, _ := c.Request.BasicAuth()
		if !authenticate(name, password) {
			c.Header("WWW-Authenticate", `Basic realm="rooms"`)
			c.AbortWithStatus(http.StatusUnauthorized)
			return
		}
		c.Set("name", name)
	})
	// Any and not GET: over HTTP/2 an upgrade is a CONNECT. gin reuses c when this
	// returns: what the connection is to know of it goes into its value.
	r.Any("/rooms/:room", func(c *gin.Context) {
		enter(sockets, c.Writer, c.Request, guest{c.GetString("name"), c.Param("room")})
	})
	r.GET("/rooms", func(c *gin.Context) { c.JSON(http.StatusOK, h.rooms()) })
	return r
}
